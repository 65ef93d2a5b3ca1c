"""How long `aimed --help` takes, beside a bare Python and beside importing scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path

from common import machine, time_process

AIMED = str(Path(sys.executable).with_name("aimed"))
COMMANDS = {
    "aimed --help": [AIMED, "--help"],
    "aimed --version": [AIMED, "--version"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import sklearn.linear_model'": [sys.executable, "-c", "import sklearn.linear_model"],
}


def main() -> None:
    print(f"# Start-up ({machine()})\n")
    print("| command | median s | lowest | highest |")
    print("|---|---|---|---|")
    medians = {}
    for name, command in COMMANDS.items():
        low, median, high = time_process(command, 7)
        medians[name] = median
        print(f"| `{name}` | {median:.3f} | {low:.3f} | {high:.3f} |")
    limit = 0.4
    verdict = "met" if medians["aimed --help"] < limit else "not met"
    print(f"\nTarget: `aimed --help` under {limit} s: {verdict}.")


if __name__ == "__main__":
    main()
