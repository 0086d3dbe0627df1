"""Runs the steps of docs/ci/github-actions.yml as a runner would, in the crate that stands beside this file.

Installing is left out: ci/test has done that. What a step writes into GITHUB_ENV, the next one finds in its environment.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

HERE = pathlib.Path(__file__).parent
WORKFLOW = HERE.parents[1] / "docs/ci/github-actions.yml"


def steps(text):
    """The name and the commands of each step that runs any."""
    for step in re.split(r"^      - ", text, flags=re.MULTILINE)[1:]:
        name = re.match(r"name: (.*)", step)
        run = re.search(r"^ *run: (?:\|\n)?((?:.|\n)*?)\s*(?:^      #(?:.|\n)*)?\Z", step, flags=re.MULTILINE)
        if run:
            yield name[1], textwrap.dedent(run[1])


def main():
    names = [name for name, _ in steps(WORKFLOW.read_text())]
    assert names == ["Install SoftHSM", "Make a token", "Test", "Run the program on the token"], names
    with tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, "RUNNER_TEMP": temporary, "GITHUB_ENV": f"{temporary}/github-env"}
        for name in ["SOFTHSM2_CONF", "KEYWARD_TOKEN", "KEYWARD_CONFIG", "KEYWARD_PIN", "KEYWARD_TEST_MODULE"]:
            environment.pop(name, None)
        pathlib.Path(environment["GITHUB_ENV"]).touch()
        for name, commands in steps(WORKFLOW.read_text()):
            if name == "Install SoftHSM":
                continue
            print(f"== {name}", flush=True)
            # As a runner runs them.
            done = subprocess.run(["bash", "-e", "-c", commands], cwd=HERE, env=environment)
            if done.returncode != 0:
                sys.exit(f"workflow.py: '{name}' exits with {done.returncode}")
            for line in pathlib.Path(environment["GITHUB_ENV"]).read_text().splitlines():
                environment.update([line.split("=", 1)])


main()
