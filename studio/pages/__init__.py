"""One file per page. `PAGES` is all of them, the first one at `/`."""

from studio.pages import compare, datasets, home, keys, new_run, playground, run, runs

PAGES = (home.draw, runs.draw, datasets.draw, playground.draw, new_run.draw, run.draw, compare.draw, keys.draw)
