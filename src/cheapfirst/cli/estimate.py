"""`cheapfirst estimate`: the monthly bill for your own mix, before you change anything."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import click

from cheapfirst import catalog
from cheapfirst import policy as policies
from cheapfirst.catalog import Estimate, Part
from cheapfirst.catalog import estimate as bills
from cheapfirst.catalog.estimate import weights
from cheapfirst.cli import options, screen
from cheapfirst.errors import RequestError
from cheapfirst.money import per_mtok, show
from cheapfirst.policy import Policy

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


@click.command()
@click.option("--input", "input_tokens", required=True, help="Prompt tokens a month: 50M, 1.2B, 800000.")
@click.option("--output", "output_tokens", required=True, help="Answer tokens a month, in the same forms.")
@click.option("--mix", default=None, help="Shares of the tiers, cheapest first. Default: 90/10 for two tiers.")
@click.option("--price", "prices", multiple=True, metavar="TIER=IN/OUT", help="USD per million tokens of a tier.")
@click.option("--escalated", default="0", show_default=True, help="Share of cheap requests that pay twice: 5%, 0.05.")
@options.json_option
@options.policy_option
def command(
    input_tokens: str,
    output_tokens: str,
    mix: str | None,
    prices: tuple[str, ...],
    escalated: str,
    as_json: bool,
    policy_file: Path | None,
) -> None:
    """Print what a month costs on the premium tier alone and on your mix of tiers.

    Prices are those of the policy's models today, unless given: --price cheap=0.09/0.18 --price premium=5/25.
    """
    loaded = policies.load(policy_file)
    parts = _parts(loaded, mix, prices, _share(escalated))
    bill = bills(_tokens(input_tokens), _tokens(output_tokens), parts)
    if as_json:
        screen.print_json(bill)
    else:
        _print(bill, parts)


def _print(bill: Estimate, parts: list[Part]) -> None:
    out = screen.console()
    rows = [
        (
            line.tier,
            f"{100 * line.share:.1f}%",
            f"{screen.price(part.input)} / {screen.price(part.output)}",
            f"{line.input_tokens:,}",
            f"{line.output_tokens:,}",
            show(line.cost),
        )
        for line, part in zip(bill.lines, parts, strict=True)
    ]
    columns = ("tier", "share", "USD per Mtok in / out", "tokens in", "tokens out", "cost")
    screen.put(out, screen.table(None, columns, rows, right=columns[1:]))
    out.print(f"  all {parts[-1].tier}   {show(bill.all_premium)}")
    share = f" ({100 * bill.saved:.1f}%)" if bill.saved is not None else ""
    out.print(f"  this mix      {show(bill.mixed)}")
    out.print(f"  saved         {show(bill.saving)}{share}")


def _parts(policy: Policy, mix: str | None, prices: tuple[str, ...], escalated: Decimal) -> list[Part]:
    names = [tier.name for tier in policy.tiers]
    given = dict(_given(price, names) for price in prices)
    if mix is None:
        mix = "90/10" if len(names) == 2 else "/".join(["1"] * len(names))
    shares = weights(mix)
    if len(shares) != len(names):
        raise RequestError(
            f"--mix {mix} has {len(shares)} shares; the policy has {len(names)} tiers: {', '.join(names)}"
        )
    known = catalog.load(policy.models)
    parts = []
    for number, (tier, weight) in enumerate(zip(policy.tiers, shares, strict=True)):
        price = known.model(tier.models[0]).price()
        listed = (price.input, price.output) if price is not None else (None, None)
        per_input, per_output = given.get(tier.name, listed)
        parts.append(
            Part(
                tier=tier.name,
                weight=weight,
                input=per_input,
                output=per_output,
                escalated=escalated if number < len(names) - 1 else Decimal(0),
            )
        )
    return parts


def _given(text: str, names: list[str]) -> tuple[str, tuple[Decimal, Decimal]]:
    name, _, amounts = text.partition("=")
    per_input, _, per_output = amounts.partition("/")
    if name not in names:
        raise RequestError(f"--price {text}: no tier {name!r}; the policy has {', '.join(names)}")
    try:
        return name, (per_mtok(per_input), per_mtok(per_output))
    except ValueError as error:
        raise RequestError(
            f"--price {text}: write TIER=IN/OUT in USD per million tokens, like cheap=0.09/0.18"
        ) from error


def _tokens(text: str) -> int:
    unit = text[-1:].upper() if text[-1:].isalpha() else ""
    try:
        number = Decimal(text[: len(text) - len(unit)].replace(",", "").replace("_", "")) * UNITS[unit]
    except (InvalidOperation, KeyError) as error:
        raise RequestError(f"not a number of tokens: {text!r}. Write 50M, 1.2B, 800K or 800000") from error
    if not number.is_finite() or number != int(number):
        raise RequestError(f"not a whole number of tokens: {text!r}")
    return int(number)


def _share(text: str) -> Decimal:
    try:
        share = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation as error:
        raise RequestError(f"not a share: {text!r}. Write 5% or 0.05") from error
    return share
