"""Settings of databases, and texts without the passwords that are in them."""

import pytest

from edgesbc.inventory.databases import DRIVERS, DatabaseSettings, without_passwords


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql://edge:sesame@db/sip", "mysql://edge:***@db/sip"),
        ("mysql://edge:s@ame@db/sip", "mysql://edge:***@db/sip"),
        ("mysql://:sesame@db/sip", "mysql://:***@db/sip"),
        ("mysql://edge@db:3306/sip", "mysql://edge@db:3306/sip"),
        ('url = "postgresql://e:sesame@db/sip"\nnext = "a@b"', 'url = "postgresql://e:***@db/sip"\nnext = "a@b"'),
        ("postgresql://db/sip?user=e&password=sesame&x=1", "postgresql://db/sip?user=e&password=***&x=1"),
        ('password = "sesame"', "password = ***"),
        ("passwd='sesame'", "passwd=***"),
        ('password_file = "/etc/secret"', 'password_file = "/etc/secret"'),
        ('members = [{ uri = "sip:a@10.0.0.1:5060" }]', 'members = [{ uri = "sip:a@10.0.0.1:5060" }]'),
    ],
)
def test_passwords_are_left_out(text: str, expected: str) -> None:
    assert without_passwords(text) == expected


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"name": "../etc"}, "a name of letters"),
        ({"schema": "asterisk"}, "expected one of edgesbc, kamailio-dispatcher"),
        ({"table": "a; drop table b"}, "the name of a table"),
        ({"table": "a.b.c"}, "the name of a table"),
        ({"refresh": 0.5}, "1 to 3600 seconds"),
        ({"timeout": 31.0}, "1 to 30 seconds"),
        ({"timeout": float("nan")}, "1 to 30 seconds"),
    ],
)
def test_bounds_of_a_database(field: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatabaseSettings(**{"name": "main", **field})  # type: ignore[arg-type]


def test_a_table_has_the_name_that_its_project_gives_it() -> None:
    assert DatabaseSettings(name="main").table_name == "destinations"
    assert DatabaseSettings(name="main", schema="opensips-load-balancer").table_name == "load_balancer"
    assert DatabaseSettings(name="main", table="sip.mine").table_name == "sip.mine"


def test_every_driver_but_that_of_sqlite_names_its_package() -> None:
    assert {name for name, driver in DRIVERS.items() if not driver.package} == {"sqlite", "sqlite+pysqlite"}
