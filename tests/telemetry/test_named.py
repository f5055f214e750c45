"""Secrets known by the name beside them."""

import pytest

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor

REDACTOR = Redactor(RedactRule())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("key: |\n  x\npassword: |\n  {S}\n  {S}\nport: 80", id="a block of lines"),
        pytest.param("password: >-\n    {S}", id="a folded block at the end"),
        pytest.param("- name: DB_PASSWORD\n  value: {S}\n", id="name and value on two lines"),
        pytest.param('<input name="api_key" class="x" value="{S}">', id="a field of a page"),
        pytest.param('<input type="password" value="{S}">', id="a field by its type"),
        pytest.param("the password is {S} now", id="said in a sentence"),
        pytest.param("| token | `{S}` |", id="a cell of a table"),
        pytest.param("ENV DB_PASSWORD {S}\n", id="a line of a Dockerfile"),
        pytest.param("ALTER USER x WITH PASSWORD '{S}'", id="SQL"),
        pytest.param("machine h login ann password {S}", id="netrc"),
        pytest.param("sshpass -p {S} ssh h", id="sshpass"),
        pytest.param("get(u, auth=('ann', '{S}'))", id="a pair in code"),
        pytest.param("curl -u ann:{S} h", id="curl"),
        pytest.param("\x1b[1mpassword\x1b[0m: {S}", id="colours between"),
        pytest.param("token (prod): {S}", id="a remark between"),
        pytest.param("kind: Secret\ndata:\n  any: {S}\n", id="an object of Kubernetes"),
        pytest.param("data:\n  any: {S}\nkind: Secret\n", id="the other way round"),
        pytest.param("api key: {S}", id="a name of two words"),
        pytest.param("password=my({S}", id="a call that is none, without spaces"),
    ],
)
def test_the_value_is_masked(text: str) -> None:
    shown = REDACTOR.text(text.replace("{S}", "Zq9-vXw7Lm3"))
    assert "Zq9" not in shown
    assert "[redacted:secret]" in shown


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("password = hash(value)", id="a call"),
        pytest.param("api_key = os.environ['X']", id="the environment"),
        pytest.param("apiKey: process.env.API_KEY", id="the environment of another language"),
        pytest.param("password=${DB_PASSWORD}", id="a template"),
        pytest.param('password: "{{ .Values.password }}"', id="another template"),
        pytest.param("Authorization: Bearer <token>", id="a placeholder"),
        pytest.param("the password is well-known", id="a sentence"),
        pytest.param("the token is INVALID", id="a shout"),
        pytest.param("kind: ConfigMap\ndata:\n  any: value\n", id="an object of another kind"),
        pytest.param("def f(password: str) -> bool", id="a type"),
        pytest.param('<input type="text" name="city" value="Bonn">', id="another field"),
    ],
)
def test_what_is_no_value_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_lines_outside_of_the_block_stay() -> None:
    text = "a:\n  token: |\n    Zq9\n    vXw\n  port: 80\n"
    assert REDACTOR.text(text) == "a:\n  token: |\n    [redacted:secret]\n  port: 80\n"


def test_a_block_without_an_end_in_sight_is_masked_to_the_end() -> None:
    text = "token: |\n" + "  Zq9\n" * 200 + "port: 80\n"
    assert REDACTOR.text(text) == "token: |\n  [redacted:secret]"
