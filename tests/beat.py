"""Step 13 with a sign of life every BEAT seconds: a test waits for none, or for one that is due."""

import os

from steps.step13_scale import main, processes

processes.BEAT = float(os.environ["BEAT"])
app = main.app
