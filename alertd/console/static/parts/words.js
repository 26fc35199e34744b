// The console's texts in the reader's language. alertd makes one script per language from words.json: words.en.js, and so on. {name} is a
// placeholder; a text with a count has the plural forms of its language, "one|many" or, in Arabic, "one|two|few|many|other".

export const LANGUAGES = { en: "English", es: "Español", fr: "Français", ar: "العربية" };

const STORED = "alertd.language";
const wanted = localStorage.getItem(STORED) || navigator.language.slice(0, 2);
export const language = wanted in LANGUAGES ? wanted : "en";
const WORDS = (await import(`../words.${language}.js`)).default;
/** Arabic with Latin digits, as phones and keyboards show them, so that a number reads the same everywhere. */
const locale = language === "ar" ? "ar-u-nu-latn" : language;
/** The text direction. */
export const direction = language === "ar" ? "rtl" : "ltr";
const plurals = new Intl.PluralRules(locale);
/** The plural forms, by their number in the language (Unicode CLDR, plural rules). */
const FORMS = { 2: ["one"], 5: ["one", "two", "few", "many"] };

export function speak(chosen) {
  localStorage.setItem(STORED, chosen);
  location.reload();
}

/** The text of a key; with `n`, in the plural form of that count, the count in the reader's digits. */
export function t(key, values = {}) {
  const forms = (known(key) ? WORDS[key] : key).split("|");
  const which = forms.length > 1 ? FORMS[forms.length].indexOf(plurals.select(Number(values.n))) : 0;
  return forms.at(which).replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

/** Whether a key has a text. */
export const known = (key) => Object.hasOwn(WORDS, key);

/** Typed text with Arabic and Persian digits as ASCII digits. */
export const digits = (text) => text.replace(/[٠-٩۰-۹]/g, (one) => String(one.charCodeAt(0) & 15));
/** A typed number: most people write half a kilometre as 0,5. NaN for invalid input. */
export function amountOf(text) {
  const plain = digits(text).trim().replace(/[,٫]/, ".");
  return /^\d*\.?\d*$/.test(plain) ? Number(plain) : NaN;
}
/** The same for counts, where a comma or point would separate thousands. */
export const countOf = (text) => (/[,٫.]/.test(text) ? NaN : amountOf(text));

/** A number, or a hidden count ("<100"), which Arabic text would otherwise mirror. */
export const number = (n) => (typeof n === "number" ? new Intl.NumberFormat(locale).format(n) : direction === "rtl" ? `\u2066${n}\u2069` : n);

/** Adds the year to a day of another year: the list of alerts goes back for years. */
const yearOf = (iso) => (new Date(iso).getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" });

/** A time for people; a dash if there is none. `more`: further options of Intl.DateTimeFormat. */
export const moment = (iso, more = {}) => (Number.isNaN(new Date(iso || NaN).getTime()) ? "–" :
  new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short", ...yearOf(iso), hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...more }).format(new Date(iso)).replaceAll(" ", "\u00a0"));
/** The same with the time zone, where two times are compared. */
export const zoned = (iso) => moment(iso, { timeZoneName: "short" });

export const day = (iso) => new Intl.DateTimeFormat(locale, { dateStyle: "long" }).format(new Date(iso));
export const date = (iso) => new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", ...yearOf(iso) }).format(new Date(iso));
export const clock = (iso) => new Intl.DateTimeFormat(locale, { timeStyle: "medium", hourCycle: "h23" }).format(new Date(iso));

/** A day of the week, 0 for Monday. */
export const dayName = (n) => new Intl.DateTimeFormat(locale, { weekday: "short", timeZone: "UTC" }).format(new Date(Date.UTC(2024, 0, 1 + n)));
/** A time of today without seconds. */
export const minute = (iso) => new Intl.DateTimeFormat(locale, { timeStyle: "short", hourCycle: "h23" }).format(new Date(iso));

/** A duration in seconds, in words; with decimals if they matter. Over an hour, it includes the minutes. */
export function span(s, decimals = 0) {
  if (s < 1 && !decimals) return t("at-once");
  if (s < 90) return t("seconds", { n: Number(s.toFixed(decimals)) });
  const minutes = Math.round(s / 60);
  if (minutes < 90) return t("minutes", { n: minutes });
  return list([t("hours", { n: Math.floor(minutes / 60) }), ...(minutes % 60 ? [t("minutes", { n: minutes % 60 })] : [])]);
}

/** The name of a language, in the reader's language. */
export const languageName = (tag) => new Intl.DisplayNames(locale, { type: "language" }).of(tag);

/** A person, with the organisation if it is not the reader's own: two organisations may have people of the same name. */
export const personOf = (name, organisation, own) => (name && organisation && organisation !== own ? `${name} (${organisation})` : name);

export const list = (words) => new Intl.ListFormat(locale).format(words);
/** The same in pieces, each word passed through `shown`. */
export const listed = (words, shown) => new Intl.ListFormat(locale).formatToParts(words).map(({ type, value }) => (type === "element" ? shown(value) : value));
