// What the console says, in the reader's language. The words are in words.json, of which a browser is given one language: words.en.js, and
// so on, as alertd makes them of it. {name} is filled in; a key with a count has the forms of its language, "one|many" or, in Arabic,
// "one|two|few|many|other".

export const LANGUAGES = { en: "English", es: "Español", fr: "Français", ar: "العربية" };

const STORED = "alertd.language";
const wanted = localStorage.getItem(STORED) || navigator.language.slice(0, 2);
export const language = wanted in LANGUAGES ? wanted : "en";
const WORDS = (await import(`../words.${language}.js`)).default;
/** Arabic with the digits that are typed, dialled and shown on phones: a number is read the same everywhere. */
const locale = language === "ar" ? "ar-u-nu-latn" : language;
/** Where a line begins. */
export const direction = language === "ar" ? "rtl" : "ltr";
const plurals = new Intl.PluralRules(locale);
/** Which form a count takes where a language has as many as this (Unicode CLDR, plural rules). */
const FORMS = { 2: ["one"], 5: ["one", "two", "few", "many"] };

export function speak(chosen) {
  localStorage.setItem(STORED, chosen);
  location.reload();
}

/** The words of a key; with `n`, in the form of that count, the count in the reader's digits. */
export function t(key, values = {}) {
  const forms = (known(key) ? WORDS[key] : key).split("|");
  const which = forms.length > 1 ? FORMS[forms.length].indexOf(plurals.select(Number(values.n))) : 0;
  return forms.at(which).replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

/** Whether there is a word for a key. */
export const known = (key) => Object.hasOwn(WORDS, key);

/** What is typed, with the digits of Arabic and Persian as those that programs read. */
export const digits = (text) => text.replace(/[٠-٩۰-۹]/g, (one) => String(one.charCodeAt(0) & 15));
/** A number as it is typed: half a kilometre is 0,5 to most who write of one. NaN for what is none. */
export function amountOf(text) {
  const plain = digits(text).trim().replace(/[,٫]/, ".");
  return /^\d*\.?\d*$/.test(plain) ? Number(plain) : NaN;
}
/** The same of what is counted, in which a comma or a point would stand between thousands. */
export const countOf = (text) => (/[,٫.]/.test(text) ? NaN : amountOf(text));

export const number = (n) => (typeof n === "number" ? new Intl.NumberFormat(locale).format(n) : n);

/** A day of another year says of which: the list of alerts goes back as far as there are any. */
const yearOf = (iso) => (new Date(iso).getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" });

/** A time as people say it; where there is none yet, none is made up. */
export const moment = (iso) => (Number.isNaN(new Date(iso || NaN).getTime()) ? "–" :
  new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short", ...yearOf(iso), hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(new Date(iso)).replaceAll(" ", "\u00a0"));

export const day = (iso) => new Intl.DateTimeFormat(locale, { dateStyle: "long" }).format(new Date(iso));
export const date = (iso) => new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", ...yearOf(iso) }).format(new Date(iso));
export const clock = (iso) => new Intl.DateTimeFormat(locale, { timeStyle: "medium", hourCycle: "h23" }).format(new Date(iso));

/** A day of the week, 0 for Monday. */
export const dayName = (n) => new Intl.DateTimeFormat(locale, { weekday: "short", timeZone: "UTC" }).format(new Date(Date.UTC(2024, 0, 1 + n)));
/** A time of today as it stands on a clock, without its seconds. */
export const minute = (iso) => new Intl.DateTimeFormat(locale, { timeStyle: "short", hourCycle: "h23" }).format(new Date(iso));

/** Seconds as people say them; with decimals where moments count. Of more than an hour the minutes are told, too: some wait for them. */
export function span(s, decimals = 0) {
  if (s < 1 && !decimals) return t("at-once");
  if (s < 90) return t("seconds", { n: Number(s.toFixed(decimals)) });
  const minutes = Math.round(s / 60);
  if (minutes < 90) return t("minutes", { n: minutes });
  return list([t("hours", { n: Math.floor(minutes / 60) }), ...(minutes % 60 ? [t("minutes", { n: minutes % 60 })] : [])]);
}

/** A language by its tag, as the reader calls it. */
export const languageName = (tag) => new Intl.DisplayNames(locale, { type: "language" }).of(tag);

/** A person, with their organisation where that is not the reader's own: two organisations may have people of one name. */
export const personOf = (name, organisation, own) => (name && organisation && organisation !== own ? `${name} (${organisation})` : name);

export const list = (words) => new Intl.ListFormat(locale).format(words);
/** The same in pieces, each word as `shown`. */
export const listed = (words, shown) => new Intl.ListFormat(locale).formatToParts(words).map(({ type, value }) => (type === "element" ? shown(value) : value));
