"""Reads an exposition from standard input with the official parser and prints how many families and samples it has.

    check_exposition.py text|openmetrics < page

Fails on a page that the parser refuses, on one without families, and on a family without samples or help.
"""

import sys

from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

PARSERS = {
    "text": parser.text_string_to_metric_families,
    "openmetrics": openmetrics.parser.text_string_to_metric_families,
}


def main(format_name):
    families = list(PARSERS[format_name](sys.stdin.read()))
    for family in families:
        if not family.samples:
            sys.exit(f"{family.name} has no samples")
        if not family.documentation:
            sys.exit(f"{family.name} has no help")
        if family.type in ("unknown", "untyped"):
            sys.exit(f"{family.name} has no type")
    samples = sum(len(family.samples) for family in families)
    if not samples:
        sys.exit("no samples")
    print(f"{len(families)} families, {samples} samples")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PARSERS:
        sys.exit(__doc__)
    main(sys.argv[1])
