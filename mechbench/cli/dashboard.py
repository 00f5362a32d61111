"""``mechbench dashboard``."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

# A page for this machine's user alone: loopback only, no foreign Host header, nothing sent out.
_OPTIONS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "20",
    "server.maxMessageSize": "64",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
}
_HOSTS = ("localhost", "127.0.0.1")


def dashboard(
    store: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 8501,
) -> None:
    """Browse runs and their figures in a web page on this machine."""
    from mechbench.cli.console import say

    say(f"Runs of {store}: http://127.0.0.1:{port} (Ctrl-C stops it)")
    environment = {**os.environ, "MECHBENCH_STORE": str(store)}
    raise typer.Exit(subprocess.call(streamlit_command(port), env=environment))


def streamlit_command(port: int) -> list[str]:
    """The command that serves the dashboard."""
    from mechbench.resources import bundled

    options = {**_OPTIONS, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    flags += [f"--server.allowedHosts={host}" for host in _HOSTS]
    app = bundled("apps") / "dashboard.py"
    return [sys.executable, "-m", "streamlit", "run", str(app), *flags]
