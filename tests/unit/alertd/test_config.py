"""Configuration: every typo is refused with the nearest name, secrets come from files and never show."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from alertd.common.errors import ConfigError
from alertd.config.carriers import CARRIERS, FcmCarrier, SmppCarrier, SmtpCarrier, TwilioCarrier, WebPushCarrier
from alertd.config.sections import LONGEST_QUERY_S, unreadable
from alertd.config.settings import load
from alertd.runtime.carrier_factory import carrier_of, common_sms_settings
from alertd.service.carriers.carriers import UNLIMITED
from alertd.store.people.subscribers import GRACE_MS
from channels.fcm import FcmChannel
from channels.mail import MailChannel
from channels.smpp.channel import SmppChannel
from channels.sms_http import HttpSmsChannel
from channels.text import SmsSettings
from channels.webpush import WebPushChannel

SECRET = "correct horse"
WEB_PUSH = '[carriers.{0}]\nkind = "webpush"\nprivate_key = "{1}"\ncontact = "mailto:ops@centre.example"\n'
SMTP = '[carriers.relay]\nkind = "smtp"\nhost = "mx.example"\nsender = "a@b.example"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "alertd.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "where", "near"),
    [
        ('log_levle = "info"', "log_levle", "log_level"),
        ("[stroe]\nurl = 'x'", "stroe", "store"),
        ("[api]\nprot = 1", "api.prot", "port"),
        ("[store]\ndirectroy = 'x'", "store.directroy", "directory"),
        ("[worker]\nattempt = 3", "worker.attempt", "attempts"),
        ("[audience]\nleast_peple = 1", "audience.least_peple", "least_people"),
        ("[events]\nkeeps = 1", "events.keeps", "keep"),
        ("[webhooks]\nprots = [443]", "webhooks.prots", "ports"),
        (SMTP + "on_unknwon = 'hold'", "on_unknwon", "on_unknown"),
        (SMTP + "pasword_file = '/x'", "pasword_file", "password_file?"),
        (SMTP + "pasword = '/x'", "pasword", "password?"),
    ],
)
def test_typo_is_refused_with_the_nearest_name(tmp_path: Path, text: str, where: str, near: str):
    """A name nobody knows is told with its place and the name that was meant."""
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    assert where in str(refused.value)
    assert f"did you mean {near}" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "where", "home"),
    [
        ("[sandbox]\na = 1", "sandbox", "[store]"),
        ("[store]\nport = 1", "store.port", "[api]"),
        ("keep = 1", "keep", "[events]"),
    ],
)
def test_an_option_in_the_wrong_place_is_told_its_own(tmp_path: Path, text: str, where: str, home: str):
    """That it may have meant itself helps nobody."""
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    assert str(refused.value) == f"{where}: there is no such option; {where.rpartition('.')[2]} is an option of {home}"


def test_every_fault_is_told_at_once(tmp_path: Path):
    """Two faults are two lines."""
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, "[api]\nport = 70000\n[worker]\nlanes = 0"))
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["api.port", "worker.lanes"]


@pytest.mark.parametrize("kind", ['"pigeon"', '""', "1"])
def test_unknown_carrier_kind_is_refused(tmp_path: Path, kind: str):
    """The kinds there are stand in the refusal."""
    with pytest.raises(ConfigError, match=r"fcm.*twilio.*smtp"):
        load(written(tmp_path, f"[carriers.x]\nkind = {kind}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[carriers.x]\nkind = "twillio"',
            "carriers.x.kind: this must be one of fcm, webpush, twilio, smpp, smtp; did you mean twilio?",
        ),
        ('[carriers.x]\nhost = "a"', "carriers.x.kind: this must be one of fcm, webpush, twilio, smpp, smtp"),
        (
            '[carriers.x]\nkind = "twilio"\naccount = "a"\nsender = "b"',
            "carriers.x.password: this is required, or password_file",
        ),
        (SMTP + "ton = 3", "carriers.relay.ton: there is no such option"),
        (
            WEB_PUSH.format("a", "one") + WEB_PUSH.format("b", "two"),
            "carriers: all carriers of web push have one private_key, since a browser takes no other",
        ),
    ],
)
def test_a_carrier_s_fault_is_told_in_the_words_of_the_file(tmp_path: Path, text: str, said: str):
    """With a path that stands in the file, what may stand there, and no option of another kind as a hint."""
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    assert said in str(refused.value).splitlines()


def test_secret_comes_from_its_file_without_the_newline(tmp_path: Path):
    """`password_file` gives `password`, and neither text nor repr of the settings shows it."""
    secret = tmp_path / "password"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    settings = load(written(tmp_path, SMTP + f"user = 'alertd'\npassword_file = '{secret}'"))
    assert settings.carriers["relay"].password.get_secret_value() == SECRET
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()


def test_every_secret_file_that_gives_no_secret_is_named_at_once(tmp_path: Path):
    """With the option that names it, among the other faults: two carriers may have the same file."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "folder").mkdir()
    there = f"kind = 'twilio'\naccount = 'a'\nsender = 'b'\npassword_file = '{tmp_path}"
    text = (
        f"[store]\nmaster_key_file = '{tmp_path}/gone'\n[api]\nport = -1\n"
        f"[carriers.missing]\n{there}/gone'\n[carriers.empty]\n{there}/empty'\n[carriers.folder]\n{there}/folder'\n"
        f"[carriers.binary]\n{there}/binary'\n[carriers.number]\n{there[: there.rindex(chr(39))]}7\n"
        + SMTP
        + f"user = 'a'\npassword_file = '{tmp_path}/empty'\n"
        f"dkim = [{{ domain = 'b.example', selector = 's', key_file = '{tmp_path}/gone' }}]"
    )
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    assert sorted(str(refused.value).splitlines()) == sorted([
        f"store.master_key_file: there is no file {tmp_path}/gone",
        "api.port: Input should be greater than or equal to 0",
        f"carriers.missing.password_file: there is no file {tmp_path}/gone",
        f"carriers.empty.password_file: {tmp_path}/empty is empty",
        f"carriers.folder.password_file: {tmp_path}/folder cannot be read: Is a directory",
        f"carriers.binary.password_file: {tmp_path}/binary holds no text in UTF-8",
        "carriers.number.password_file: this must be the path of a file",
        f"carriers.relay.password_file: {tmp_path}/empty is empty",
        f"carriers.relay.dkim.0.key_file: there is no file {tmp_path}/gone",
    ])  # fmt: skip


def test_a_file_of_another_user_is_named():
    """As one that was made with sudo."""
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert unreadable(Path("/etc/alertd/secret"), denied) == "this user may not read /etc/alertd/secret"


def test_faulty_secret_is_not_shown(tmp_path: Path):
    """A secret in the wrong shape is refused without being quoted."""
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, f"[store]\nmaster_key = ['{SECRET}']"))
    assert SECRET not in str(refused.value)


def test_environment_stands_above_the_file(tmp_path: Path, monkeypatch):
    """What the environment sets wins; what it leaves alone is the file's."""
    monkeypatch.setenv("ALERTD_API__PORT", "0")
    settings = load(written(tmp_path, "[api]\nport = 81\nhost = '0.0.0.0'"))
    assert (settings.api.port, settings.api.host) == (0, "0.0.0.0")


def test_carriers_of_the_environment_replace_those_of_the_file(tmp_path: Path, monkeypatch):
    """Where the environment names all carriers, none of the file's sends beside them; a single option of one is set in it."""
    monkeypatch.setenv("ALERTD_CARRIERS__RELAY__HOST", "mx.other.example")
    assert load(written(tmp_path, SMTP)).carriers["relay"].host == "mx.other.example"
    monkeypatch.delenv("ALERTD_CARRIERS__RELAY__HOST")
    trial = {"kind": "smtp", "host": "127.0.0.1", "port": 25, "sender": "a@b.example"}
    monkeypatch.setenv("ALERTD_CARRIERS", json.dumps({"trial": trial}))
    assert set(load(written(tmp_path, SMTP)).carriers) == {"trial"}


def test_secret_of_the_environment_stands_above_a_secret_file_of_the_file(tmp_path: Path, monkeypatch):
    """Whoever points one start at another store with a variable is not led to the store of the file, nor are its secrets used."""
    (tmp_path / "url").write_text("redis://in.use.example")
    monkeypatch.setenv("ALERTD_STORE__URL", "redis://trial.example")
    monkeypatch.setenv("ALERTD_CARRIERS__RELAY__PASSWORD", SECRET)
    relay = SMTP + f'user = "alertd"\npassword_file = "{tmp_path}/gone"\nca_file = "{tmp_path}/ca.pem"\n'
    settings = load(written(tmp_path, f'[store]\nurl_file = "{tmp_path}/url"\n{relay}'))
    assert settings.store.url == "redis://trial.example"
    assert isinstance(carrier := settings.carriers["relay"], SmtpCarrier)
    assert carrier.password
    assert carrier.password.get_secret_value() == SECRET
    assert (carrier.user, carrier.ca_file) == ("alertd", tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("name", "told", "where"),
    [
        ("ALERTD_SIGN_IN__ORIGINS", "https://alerts.example", "sign_in"),
        ("ALERTD_CARRIERS", "{'relay'", "carriers"),
        ("ALERTD_STORE", "redis://secret@x", "store"),
    ],
)
def test_a_variable_that_is_no_json_is_refused_in_words(monkeypatch, name: str, told: str, where: str):
    """Which table, and what was to stand there; not what did."""
    monkeypatch.setenv(name, told)
    with pytest.raises(ConfigError) as refused:
        load()
    assert str(refused.value).startswith(f"{where}: a list or a table in a variable is written as JSON")
    assert told not in str(refused.value)


def test_secret_file_of_the_environment_stands_above_the_file(tmp_path: Path, monkeypatch):
    """`ALERTD_..._FILE` beats a value of the file."""
    secret = tmp_path / "key"
    secret.write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("ALERTD_STORE__MASTER_KEY_FILE", str(secret))
    settings = load(written(tmp_path, "[store]\nmaster_key = 'of the file'"))
    assert settings.store.master_key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ALERTD_API__PROT", "port"), ("ALERTD_LOG_LEVLE", "log_level"),
        ("ALERTD_STORE_DIRECTORY", "ALERTD_STORE__DIRECTORY"), ("ALERTD_SIGN_IN_CODE_MINUTES", "ALERTD_SIGN_IN__CODE_MINUTES"),
    ],
)  # fmt: skip
def test_typo_in_the_environment_is_refused(monkeypatch, name: str, near: str):
    """A variable of ours that means nothing is a typo too."""
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=near):
        load()


def test_what_a_cluster_says_of_its_services_is_no_typo(monkeypatch):
    """Kubernetes sets these in every container for services that are called `alertd` and `alertd-api`."""
    for name, value in (
        ("ALERTD_PORT", "tcp://10.0.0.7:8080"), ("ALERTD_API_PORT", "tcp://10.0.0.7:8080"), ("ALERTD_API_SERVICE_PORT", "8080"),
        ("ALERTD_API_PORT_8080_TCP_ADDR", "10.0.0.7"), ("ALERTD_SERVICE_HOST", "10.0.0.7"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert load().api.port == 8080


def test_no_file_is_an_error_only_when_one_was_named(tmp_path: Path):
    """Defaults need no file; a named file must be there."""
    assert load().api.port == 8080
    assert load().file is None
    assert load(written(tmp_path, "")).file == tmp_path / "alertd.toml"
    with pytest.raises(ConfigError, match="no configuration file"):
        load(tmp_path / "none.toml")


def test_text_that_is_not_toml_is_refused(tmp_path: Path):
    """The file is named."""
    with pytest.raises(ConfigError, match=r"alertd\.toml is not TOML"):
        load(written(tmp_path, "port 80"))
    (tmp_path / "alertd.toml").write_bytes('organisation = "Policía"'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"alertd\.toml is not in UTF-8"):
        load(tmp_path / "alertd.toml")


def test_where_people_are_led_to_is_a_whole_address(tmp_path: Path):
    """Links to leave, photos and carriers' reports are paths behind it: one without its scheme leads nowhere, and a slash at its end leads elsewhere."""
    for wrong in ("alerts.centre.example", "//alerts.example", "https://", "https://a.example?x", "ftp://a.example"):
        with pytest.raises(ConfigError, match=r"^api\.public_url: this looks like https://alerts\.centre\.example$"):
            load(written(tmp_path, f'[api]\npublic_url = "{wrong}"'))
    for given, kept in (("https://a.example/", "https://a.example"), ("https://a.example/b/", "https://a.example/b")):
        assert load(written(tmp_path, f'[api]\npublic_url = "{given}"')).api.reached_at == kept


def test_the_data_may_be_in_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The tombstones are beside it all the same."""
    folder = tmp_path / "alertd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    store = load(written(tmp_path, '[store]\ndirectory = "."')).store
    assert store.tombstones_file == tmp_path / "alertd.tombstones"


def test_search_may_not_outlast_the_grace_of_a_move(tmp_path: Path):
    """A longer deadline than a move waits for is refused with that reason, and the grace has room for two of the longest."""
    assert load(written(tmp_path, "[audience]\ndeadline_s = 5")).audience.deadline_s == 5
    with pytest.raises(ConfigError, match=r"audience\.deadline_s: at most 5 s: .*people who move"):
        load(written(tmp_path, "[audience]\ndeadline_s = 5.1"))
    assert LONGEST_QUERY_S * 1000 * 2 < GRACE_MS


def test_carriers_name_the_channel_they_are_made_for():
    """What the configuration says of a kind of carrier is what its channel says of itself."""
    made = {
        FcmCarrier: FcmChannel,
        WebPushCarrier: WebPushChannel,
        TwilioCarrier: HttpSmsChannel,
        SmppCarrier: SmppChannel,
        SmtpCarrier: MailChannel,
    }
    assert set(made) == set(CARRIERS)
    assert all(section.channel == channel.name for section, channel in made.items())


def test_how_a_text_is_coded_is_set_for_each_carrier():
    """What all SMS carriers take decides how much an SMS can tell."""
    centre = {"kind": "smpp", "host": "a.example", "system_id": "a", "password": "p", "sender": "12345"}
    one = SmppCarrier.model_validate({**centre, "national_tables": ["spanish", "turkish"], "transliterate": False})
    other = SmppCarrier.model_validate({**centre, "national_tables": ["portuguese", "spanish"]})
    provider = TwilioCarrier.model_validate({"kind": "twilio", "account": "a", "password": "p", "sender": "12345"})
    assert common_sms_settings([one, other]) == SmsSettings(tables=("spanish",), transliterate=False)
    assert common_sms_settings([other, provider]) == SmsSettings()
    assert common_sms_settings([]) == SmsSettings()


def test_a_national_table_needs_a_header(tmp_path: Path):
    """A text in one piece has none that could name the table."""
    text = '[carriers.x]\nkind = "smpp"\nhost = "a.example"\nsystem_id = "a"\npassword = "p"\nsender = "12345"\n'
    settings = load(written(tmp_path, text + 'national_tables = ["spanish"]\nlong = "payload"\n'))
    with pytest.raises(ConfigError, match="national_tables needs long"):
        carrier_of("x", settings.carriers["x"], settings)


@pytest.mark.parametrize(("relay", "option"), [("ses", "reports_topic"), ("mailgun", "reports_secret")])
def test_reports_without_a_proof_are_refused(tmp_path: Path, relay: str, option: str):
    """Anybody could post them."""
    with pytest.raises(ConfigError, match=option):
        load(written(tmp_path, SMTP + f"reports = '{relay}'"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[worker]\nmetrics = 'foo'", "worker.metrics"),
        ("[worker]\nmetrics = '127.0.0.1:99999'", "worker.metrics"),
        (SMTP + "bounces_listen = '127.0.0.1:99999'", "carriers.relay.bounces_listen"),
        (SMTP + "rate = inf", "carriers.relay.rate"),
        (SMTP + "ramp_s = inf", "carriers.relay.ramp_s"),
        (SMTP + "user = 'alertd'", "carriers.relay"),
        (SMTP.replace("relay", "'a b'"), "carriers"),
        (SMTP.replace("relay", "'a/b'"), "carriers"),
        ("[budget]\nalert_cost = inf\nsegment_price = 1.0", "budget.alert_cost"),
    ],
)
def test_what_would_start_and_fail_later_is_refused(tmp_path: Path, text: str, where: str):
    """A port above the last was taken for another one, where nobody asked; with an infinite rate each alert was refused for a fault of
    ours; a user without a password is let in by no relay, and a name that is no part of an address gets no reports.
    """
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    assert str(refused.value).startswith(f"{where}: ")


@pytest.mark.parametrize("place", ["", "127.0.0.1:9101", "[::1]:65535", "unix:/run/alertd.sock"])
def test_where_a_worker_shows_its_metrics(tmp_path: Path, place: str):
    """Nowhere, at a port, or at a socket's file."""
    told = load(written(tmp_path, f"[worker]\nmetrics = '{place}'")).worker.metrics
    assert told == place


def test_a_signing_key_comes_from_its_file_and_does_not_show(tmp_path: Path):
    """Like every secret, though it stands in a table of a list."""
    secret = tmp_path / "dkim.pem"
    secret.write_text(SECRET, encoding="utf-8")
    key = f"dkim = [{{ domain = 'b.example', selector = 's', key_file = '{secret}' }}]"
    settings = load(written(tmp_path, SMTP + key))
    assert settings.carriers["relay"].dkim[0].key.get_secret_value() == SECRET
    assert SECRET not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("domains", "said"),
    [
        ("{ 'a.example' = { rate = 0 } }", "greater than 0"),
        ("{ 'A.example' = {} }", "small letters"),
        ("{ 'a.example' = { also = ['@b.example'] } }", "small letters"),
        ("{ 'a.example' = {}, 'b.example' = { also = ['a.example'] } }", "a.example has two limits"),
        ("{ 'a.example' = { rates = 1 } }", "did you mean rate"),
    ],
)
def test_limits_of_domains_that_cannot_be_kept_are_refused(tmp_path: Path, domains: str, said: str):
    """A domain has one limit, and a name that no mailbox has would have none."""
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, SMTP + f"domains = {domains}"))


def test_push_has_a_quota_and_a_ramp_and_nobody_else_has(tmp_path: Path):
    """FCM's, unless the file says otherwise; 0 is no limit, and the carrier goes by what is set."""
    push = "[carriers.push]\nkind = 'fcm'\ncredentials = '/x'\n"
    found = load(written(tmp_path, push + SMTP)).carriers
    assert [(found[name].rate, found[name].ramp_s) for name in ("push", "relay")] == [(9_000, 60), (None, 0)]
    settings = load(written(tmp_path, SMTP + "rate = 0\nramp_s = 30"))
    made = carrier_of("relay", settings.carriers["relay"], settings)
    assert (made.rate, made.burst, made.ramp_s) == (UNLIMITED, UNLIMITED, 30)
