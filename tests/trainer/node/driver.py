"""Starts one node process whose ranks are `standin.py`: `driver.py PACE_JSON ARGUMENT…`."""

import json
import os
import sys
from pathlib import Path

from trainer.node.__main__ import main
from trainer.node.settings import Intervals

if __name__ == "__main__":
    standin = Path(__file__).with_name("standin.py")
    command = (sys.executable, "-S", str(standin))
    sys.exit(
        main(sys.argv[2:], os.environ, rank_command=command, intervals=Intervals(**json.loads(sys.argv[1])))
    )
