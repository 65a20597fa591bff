"""Settings: every variable, what is wrong with it, and no secret in anything that can be printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from pydantic import ValidationError

from worker.errors import SettingsError
from worker.jobs import INT64_MAX
from worker.rate_limit import plan_of
from worker.settings import Account, Address, LogFormat, Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET: Final = "fd-secret-1234"
NAMES: Final = (
    "REDIS_URL",
    "FLASHDUTY_APP_KEY",
    "FLASHDUTY_APP_KEY_FILE",
    "FLASHDUTY_BASE_URL",
    "FLASHDUTY_INTEGRATION_ID",
    "WARROOMS_RATES",
    "WARROOMS_SPREAD_S",
    "WARROOMS_ACCOUNTS_FILE",
    "WARROOMS_CONCURRENCY",
    "WARROOMS_RETENTION_DAYS",
    "WARROOMS_LOG_FORMAT",
    "WARROOMS_METRICS_ADDRESS",
    "WARROOMS_OTEL",
    "WARROOMS_TASK_EVENTS",
    "WARROOMS_FLOWER_OPEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def with_environment(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return with_environment


def test_an_empty_environment_has_all_the_defaults(load: Callable[..., Settings]) -> None:
    settings = load()
    assert (settings.redis_url, settings.base_url) == ("redis://localhost:6379/0", "https://api.flashcat.cloud")
    assert (settings.concurrency, settings.retention_s, settings.log_format) == (64, 7 * 86_400, LogFormat.AUTO)
    (account,) = settings.accounts().values()
    assert (account.name, account.integration_id) == ("default", None)
    assert account.plan == plan_of("50/second;1000/minute", 250_000)


def test_every_variable_is_read(load: Callable[..., Settings]) -> None:
    settings = load(
        REDIS_URL="rediss://r:1/2",
        FLASHDUTY_BASE_URL="http://127.0.0.1:1",
        FLASHDUTY_INTEGRATION_ID=str(INT64_MAX),
        WARROOMS_RATES="7/minute",
        WARROOMS_SPREAD_S="0.5",
        WARROOMS_CONCURRENCY="3",
        WARROOMS_RETENTION_DAYS="0.5",
        WARROOMS_LOG_FORMAT="json",
    )
    assert (settings.redis_url, settings.base_url) == ("rediss://r:1/2", "http://127.0.0.1:1")
    assert (settings.concurrency, settings.retention_s, settings.log_format) == (3, 43_200, LogFormat.JSON)
    account = settings.accounts()["default"]
    assert (account.integration_id, account.plan) == (INT64_MAX, plan_of("7/minute", 500_000))


@pytest.mark.parametrize(
    "name", ["FLASHDUTY_APP_KEY_FILE", "FLASHDUTY_INTEGRATION_ID", "WARROOMS_ACCOUNTS_FILE", "FLASHDUTY_APP_KEY"]
)
def test_an_optional_variable_that_is_empty_is_absent(load: Callable[..., Settings], name: str) -> None:
    assert load(**{name: ""}) == load()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("FLASHDUTY_INTEGRATION_ID", "0", "greater than 0"),
        ("FLASHDUTY_INTEGRATION_ID", "-1", "valid integer"),
        ("FLASHDUTY_INTEGRATION_ID", "1.5", "valid integer"),
        ("FLASHDUTY_INTEGRATION_ID", "feishu", "valid integer"),
        ("FLASHDUTY_INTEGRATION_ID", str(INT64_MAX + 1), "less than or equal to 9223372036854775807"),
        ("FLASHDUTY_INTEGRATION_ID", "9" * 5000, ""),
        ("WARROOMS_SPREAD_S", "-0.1", "greater than or equal to 0.05"),
        ("WARROOMS_SPREAD_S", "nan", ""),
        ("WARROOMS_SPREAD_S", "11", "less than or equal to 10"),
        ("WARROOMS_CONCURRENCY", "0", "greater than or equal to 1"),
        ("WARROOMS_CONCURRENCY", "many", "valid integer"),
        ("WARROOMS_RETENTION_DAYS", "0", "greater than 0"),
        ("WARROOMS_RETENTION_DAYS", "inf", ""),
        ("WARROOMS_LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
    ],
)
def test_a_wrong_variable_is_named(load: Callable[..., Settings], name: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})
    assert str(caught.value).startswith(f"wrong setting: {name}: ")
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 200


def test_all_wrong_variables_are_named_at_once(load: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"WARROOMS_SPREAD_S: .*; WARROOMS_CONCURRENCY: "):
        load(WARROOMS_SPREAD_S="x", WARROOMS_CONCURRENCY="y")


@pytest.mark.parametrize("rates", ["fast", "50", "50/fortnight", "0/second", "-1/second", "50/second;", "1.5/second"])
def test_rates_that_are_none_are_refused(load: Callable[..., Settings], rates: str) -> None:
    settings = load(WARROOMS_RATES=rates)
    with pytest.raises(SettingsError, match="WARROOMS_RATES"):
        settings.accounts()


def test_an_empty_variable_is_an_absent_one(load: Callable[..., Settings]) -> None:
    assert load(WARROOMS_RATES="", WARROOMS_SPREAD_S="", REDIS_URL="", WARROOMS_CONCURRENCY="") == load()


def test_rates_come_in_one_order_however_they_are_written(load: Callable[..., Settings]) -> None:
    plans = [
        load(WARROOMS_RATES=rates).accounts()["default"].plan for rates in ("9/second;99/minute", "99/minute;9/second")
    ]
    assert plans[0] == plans[1]


def test_an_app_key_where_the_name_of_its_variable_belongs_is_not_shown(
    load: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text('[accounts.a]\napp_key_env = "s3cr3t-key"\n')
    with pytest.raises(SettingsError, match="app_key_env: must be a name") as caught:
        load(WARROOMS_ACCOUNTS_FILE=str(path)).accounts()
    assert "s3cr3t" not in str(caught.value)


def test_an_app_key_where_its_file_belongs_is_not_shown(load: Callable[..., Settings]) -> None:
    account = load(FLASHDUTY_APP_KEY_FILE="s3cr3tkey").accounts()["default"]
    with pytest.raises(SettingsError, match="cannot read the app key") as caught:
        account.app_key()
    assert "s3cr3t" not in str(caught.value)


def test_settings_do_not_change(load: Callable[..., Settings]) -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.concurrency = 1  # type: ignore[misc] # that is the point
    with pytest.raises(ValidationError, match="frozen"):
        settings.accounts()["default"].name = "other"  # type: ignore[misc]


def test_a_retention_is_never_nothing(load: Callable[..., Settings]) -> None:
    assert load(WARROOMS_RETENTION_DAYS="0.000001").retention_s == 1


# --- secrets ------------------------------------------------------------------------------------------------------


def test_no_secret_is_printed(load: Callable[..., Settings]) -> None:
    settings = load(REDIS_URL=f"redis://:{SECRET}@r:1/0", FLASHDUTY_APP_KEY=SECRET)
    account = settings.accounts()["default"]
    for text in (repr(settings), str(settings), repr(account), str(account), account.model_dump_json()):
        assert SECRET not in text
    assert account.app_key() == SECRET


@pytest.mark.parametrize("name", sorted({*NAMES} - {"WARROOMS_RATES", "WARROOMS_ACCOUNTS_FILE"}))
def test_no_error_shows_a_value_that_may_be_a_secret(load: Callable[..., Settings], name: str) -> None:
    said = ""
    try:
        load(**{name: SECRET}).accounts()
    except SettingsError as error:
        said = repr(error) + repr(error.__cause__)
    assert SECRET not in said


def test_the_key_comes_from_the_environment_when_it_is_needed(
    load: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = load().accounts()["default"]
    with pytest.raises(SettingsError, match=r"account 'default': set FLASHDUTY_APP_KEY \(or FLASHDUTY_APP_KEY_FILE\)"):
        account.app_key()
    monkeypatch.setenv("FLASHDUTY_APP_KEY", f" {SECRET}\n")
    assert account.app_key() == SECRET


def test_the_key_comes_from_its_file_anew_each_time(load: Callable[..., Settings], tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    account = load(FLASHDUTY_APP_KEY_FILE=str(file), FLASHDUTY_APP_KEY="not this one").accounts()["default"]
    assert account.app_key() == SECRET
    file.write_text("rotated")
    assert account.app_key() == "rotated"


def test_a_key_file_that_cannot_be_used_is_named(load: Callable[..., Settings], tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe")
    for file, problem in (
        (empty, "is empty"),
        (binary, "not text"),
        (tmp_path / "none", "No such file"),
        (tmp_path, ""),
    ):
        account = load(FLASHDUTY_APP_KEY_FILE=str(file)).accounts()["default"]
        with pytest.raises(SettingsError, match="default") as caught:
            account.app_key()
        assert str(file) in str(caught.value)
        assert problem in str(caught.value)


def test_an_account_may_have_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(name="eu", plan=plan_of("1/second"), app_key_env="EU_KEY")
    with pytest.raises(SettingsError, match=r"account 'eu': set EU_KEY$"):
        account.app_key()
    monkeypatch.setenv("EU_KEY", SECRET)
    assert account.app_key() == SECRET


# --- the accounts file --------------------------------------------------------------------------------------------


@pytest.fixture
def load_file(load: Callable[..., Settings], tmp_path: Path) -> Callable[[str], Settings]:
    def from_text(text: str) -> Settings:
        file = tmp_path / "accounts.toml"
        file.write_text(text)
        return load(WARROOMS_ACCOUNTS_FILE=str(file))

    return from_text


def test_an_accounts_file_has_several_accounts(load_file: Callable[[str], Settings]) -> None:
    accounts = load_file(f"""
        [accounts.eu]
        app_key_env = "EU_KEY"
        integration_id = {INT64_MAX}
        rates = "7/minute"
        [accounts.asia-1]
        app_key_file = "/run/key"
    """).accounts()
    assert list(accounts) == ["eu", "asia-1"]
    assert (accounts["eu"].integration_id, accounts["eu"].plan) == (INT64_MAX, plan_of("7/minute"))
    assert str(accounts["asia-1"].app_key_file) == "/run/key"
    assert accounts["asia-1"].plan == plan_of("50/second;1000/minute")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "accounts: is missing"),
        ("[accounts]", "accounts: Dictionary should have at least 1 item"),
        ("accounts = 3", "accounts: "),
        ("[accounts.eu", "not TOML"),
        ("[accounts.eu]", "accounts.eu: needs exactly one of app_key_file and app_key_env"),
        (
            '[accounts.eu]\napp_key_env = "A"\napp_key_file = "b"',
            "accounts.eu: needs exactly one of app_key_file and app_key_env",
        ),
        (f'[accounts.eu]\napp_key = "{SECRET}"\napp_key_env = "A"', "accounts.eu.app_key: unknown name"),
        ('[accounts.eu]\napp_key_env = "A"\nrates = "fast"', "accounts.eu.rates: 'fast' is no list of rates"),
        ('[accounts.eu]\napp_key_env = "A"\nrates = 50', "accounts.eu.rates: Input should be a valid string"),
        ('[accounts.eu]\napp_key_env = "A"\nintegration_id = "1"', "accounts.eu.integration_id: "),
        ('[accounts.eu]\napp_key_env = "A"\nintegration_id = 9223372036854775808', "accounts.eu.integration_id: "),
        ('[accounts."e.u"]\napp_key_env = "A"', "accounts.e.u: an account's name must be 1 to 63 letters"),
        ('[accounts.eu]\napp_key_env = "a"', "accounts.eu.app_key_env: must be a name: letters, digits and '_', for a"),
        ('[account.eu]\napp_key_env = "A"', "account: unknown name"),
    ],
)
def test_a_wrong_accounts_file_names_the_file_and_the_field(
    load_file: Callable[[str], Settings], text: str, problem: str
) -> None:
    settings = load_file(text)
    with pytest.raises(SettingsError) as caught:
        settings.accounts()
    assert str(settings.accounts_file) in str(caught.value)
    assert problem in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_accounts_file_that_is_not_there_is_named(load: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match="WARROOMS_ACCOUNTS_FILE /nowhere: cannot read it: No such file"):
        load(WARROOMS_ACCOUNTS_FILE="/nowhere").accounts()


def test_an_accounts_file_that_is_not_text_is_named(load: Callable[..., Settings], tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not TOML"):
        load(WARROOMS_ACCOUNTS_FILE=str(file)).accounts()


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
        ("[::1]:0", Address("::1", 0)),
        ("worker-1.internal:80", Address("worker-1.internal", 80)),
        ("off", None),
        ("OFF", None),
    ],
)
def test_the_metrics_address_is_a_host_and_a_port_or_off(
    load: Callable[..., Settings], said: str, address: Address | None
) -> None:
    assert load(WARROOMS_METRICS_ADDRESS=said).metrics_address == address


@pytest.mark.parametrize("said", ["9464", ":9464", "127.0.0.1", "127.0.0.1:65536", "http://x:1", "a b:1"])
def test_a_metrics_address_that_is_none_is_refused_in_a_sentence(load: Callable[..., Settings], said: str) -> None:
    with pytest.raises(SettingsError, match="WARROOMS_METRICS_ADDRESS: must be host:port"):
        load(WARROOMS_METRICS_ADDRESS=said)


@pytest.mark.parametrize("name", ["WARROOMS_TASK_EVENTS", "WARROOMS_FLOWER_OPEN"])
def test_yes_and_no_are_said_in_the_usual_words_and_maybe_is_refused(load: Callable[..., Settings], name: str) -> None:
    field = name.removeprefix("WARROOMS_").lower()
    assert [getattr(load(**{name: said}), field) for said in ("yes", "TRUE", "on", "1")] == [True] * 4
    assert [getattr(load(**{name: said}), field) for said in ("no", "false", "Off", "0")] == [False] * 4
    with pytest.raises(SettingsError, match=f"{name}: must be yes or no, got 'maybe'$"):
        load(**{name: "maybe"})


def test_traces_are_on_where_a_collector_is_named_or_where_they_are_asked_for(load: Callable[..., Settings]) -> None:
    assert not load().traced
    assert load(WARROOMS_OTEL="on").traced
    assert not load(WARROOMS_OTEL="off", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318").traced
    assert load(WARROOMS_OTEL="auto").traced


def test_an_address_is_written_as_a_url_has_it() -> None:
    assert Address("::1", 0).at(9464) == "[::1]:9464"
    assert Address("127.0.0.1", 0).at(9465) == "127.0.0.1:9465"
