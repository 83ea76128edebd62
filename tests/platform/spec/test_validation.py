from __future__ import annotations

from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.spec.loading import load

HEAD = "kind: toy\nname: toy\n"


def fails(body: str, set: Any = (), *, head: str = HEAD) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(head + body, set)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("optimizer: {lrr: 1}", "3: optimizer.lrr: unknown key; did you mean `lr`?"),
        ("lr: 1", "3: lr: unknown key; did you mean `optimizer.lr`?"),
        ("optimizer:\n  zzz: 1", "4: optimizer.zzz: unknown key; known: api_key, betas, lr, name"),
        ("regster: x", "3: regster: unknown key; did you mean `register`?"),
        ("optimizer: {lr: -1}", "3: optimizer.lr: got -1; expected greater than 0"),
        ("optimizer: {lr: fast}", "3: optimizer.lr: got 'fast'; expected a number"),
        ("optimizer: {lr: 2}", "3: optimizer.lr: optimizer.lr 2.0 is more than 1; lower optimizer.lr"),
        ("optimizer: {betas: [0.1, x]}", "3: optimizer.betas.1: got 'x'; expected a number"),
        ("optimizer: {betas: 0.9}", "3: optimizer.betas: got 0.9; expected a list, such as [0.9, 0.9]"),
        ("optimizer: adam", "3: optimizer: got 'adam'; expected a mapping"),
        ("optimizer: {name: adm}", "3: optimizer.name: got 'adm'; allowed: sgd, adam, adamw; did you mean `adam`?"),
        ("optimizer: {api_key: hunter2}", "3: optimizer.api_key: got ***; expected a whole number"),
        (
            "retry: {xx: 1}",
            "3: retry.xx: unknown key; known: hang, node_lost, out_of_memory, platform_error, preempted, user_error",
        ),
        (
            "retry: {node_lst: 1}",
            "3: retry.node_lst: unknown key; did you mean `node_lost`? "
            "known: hang, node_lost, out_of_memory, platform_error, preempted, user_error",
        ),
        ("retry: {node_lost: -1}", "3: retry.node_lost: got -1; expected greater than or equal to 0"),
        ("labels: {team: 5}", "3: labels.team: got 5; expected a string: put it in quotes"),
        ("priority: true", "3: priority: got a boolean; expected a number"),
        ("resources: {workers: 0}", "3: resources.workers: got 0; expected greater than or equal to 1"),
        (
            "resources: {workers: 4..2}",
            "3: resources.workers: got '4..2', which is reversed; the lower number comes first: `2..4`",
        ),
        ("resources: {cpus_per_worker: .nan}", "3: resources.cpus_per_worker: got nan; expected a finite number"),
        ("resources: []", "3: resources: got []; expected a mapping"),
        ("register: [{a: 1}]", "3: register: got a list of 1; expected a valid string"),
        (
            "register: postgresql://me:pw@host/db\nscale: https://me:pw@host",
            "4: scale: got 'https://***@host'; expected a number",
        ),
        ("net: net18", "3: net: got 'net18'; expected a mapping such as {name: net18}"),
        ("net: {width: 3}", "3: net.name: required key is missing; known: net, other"),
        ("net: {name: 5}", "3: net.name: got 5; expected the name as a string"),
        ("net: {name: net81}", "3: net.name: unknown architecture 'net81'; did you mean `net18`?"),
        ("net:\n  name: net18\n  widht: 3", "5: net.widht: unknown key; did you mean `width`?"),
        ("net: {name: other, width: 3}", "3: net.width: unknown key; did you mean `depth`?"),
        ("net: {name: net18, width: 13}", "3: net: got width 13; allowed: any other"),
        ("net: {name: net18, layers: [0, x]}", "3: net.layers.1: got 'x'; expected a number"),
        ("net: {name: net18, head: {kind: pool, heads: 3}}", "3: net.head.heads: unknown key; known: kind, window"),
        (
            "net: {name: net50, head: {kind: attention, haed: 3}}",
            "3: net.head.haed: unknown key; did you mean `heads`?",
        ),
        ("words: {a: [x, 5]}", "3: words.a.1: got 5; expected a string: put it in quotes"),
        (
            "every: soon",
            "3: every: got 'soon'; expected whole epochs such as `10ep` or steps such as `500step`, at least 1",
        ),
    ],
)
def test_messages(body: str, message: str) -> None:
    assert fails(body) == [f"<text>:{message}"]


def test_every_error_is_listed_in_the_order_of_the_document() -> None:
    body = "optimizer:\n  lrr: 3\n  lr: -1\nepochs: 3\nnet: {name: net18, width: 0}\n"
    assert fails(body, head="name: No Slug\nkind: toy\n") == [
        "<text>:1: name: got 'No Slug'; a name is 1 to 63 lower-case letters, digits, `-`, `_` and `.`, "
        "beginning with a letter or digit; for example `no-slug`",
        "<text>:4: optimizer.lrr: unknown key; did you mean `lr`?",
        "<text>:5: optimizer.lr: got -1; expected greater than 0",
        "<text>:6: epochs: unknown key; known: every, grace, keep, kind, labels, max_idle, name, net, "
        "optimizer, priority, register, resources, … (17 in all)",
        "<text>:7: net.width: got 0; expected greater than or equal to 1",
    ]


def test_an_override_stands_in_place_of_a_line() -> None:
    assert fails("", ["optimizer.lr=fast", "net={name: net18, widht: 1}"]) == [
        "--set net={name: net18, widht: 1}: net.widht: unknown key; did you mean `width`?",
        "--set optimizer.lr=fast: optimizer.lr: got 'fast'; expected a number",
    ]
    assert fails("", {"optimizer.lrr": 1}) == ["set['optimizer.lrr']: optimizer.lrr: unknown key; did you mean `lr`?"]


def test_a_check_across_fields_is_placed_at_the_key_that_it_names() -> None:
    assert fails("", ["optimizer.lr=5"]) == [
        "--set optimizer.lr=5: optimizer.lr: optimizer.lr 5.0 is more than 1; lower optimizer.lr"
    ]


def test_secrets_are_not_echoed() -> None:
    for text in fails("optimizer: {api_key: hunter2}", ["labels.db_password=[hunter2]"]):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("name: x\n", "<text>: kind: required key is missing; known: toy"),
        ("kind: 5\n", "<text>:1: kind: got an integer; expected the name of a kind"),
        ("\nkind: toyy\n", "<text>:2: kind: unknown kind 'toyy'; did you mean `toy`?"),
        ("kind: toy\n", "<text>: name: required key is missing"),
    ],
)
def test_kind_and_name(head: str, message: str) -> None:
    assert fails("", head=head) == [message]


def test_errors_keep_key_line_and_source() -> None:
    with pytest.raises(SpecError) as caught:
        load(HEAD + "optimizer: {lrr: 1}")
    assert (caught.value.key, caught.value.line, caught.value.source) == ("optimizer.lrr", 3, "<text>")
