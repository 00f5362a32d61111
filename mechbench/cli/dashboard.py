"""``mechbench dashboard``."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from mechbench.errors import SpecError

# Nothing is sent out, no stack trace reaches a page, and uploads are small.
_OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "20",
    "server.maxMessageSize": "64",
    "server.enableXsrfProtection": "true",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    # Otherwise a full collection follows every click, and with torch loaded it holds up the
    # answer for 0.3 s. Python collects by itself all the same.
    "runner.postScriptGC": "false",
    # One for each theme, or there would be but one theme and no dark one.
    "theme.light.primaryColor": "#0072B2",
    "theme.dark.primaryColor": "#56B4E9",
}
_LOOPBACK = "127.0.0.1"
_HOSTS = ("localhost", _LOOPBACK)
_AUTH_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")


def dashboard(
    store: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8501,
    models: Annotated[
        list[Path] | None, typer.Option(help="A folder whose models are offered; may be repeated.")
    ] = None,
    address: Annotated[
        str, typer.Option(help="Where to listen; any but loopback needs a login (README).")
    ] = _LOOPBACK,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A host name of this server, with --address.")
    ] = None,
) -> None:
    """Explore circuits and browse runs in a web page on this machine."""
    from mechbench.cli.console import say

    login = not is_loopback(address)
    if login:
        check_login(Path.cwd() / ".streamlit" / "secrets.toml", address)
    for folder in models or ():
        if not folder.is_dir():
            raise SpecError(f"--models {str(folder)!r} is no folder: give one that holds models.")
    say(f"Runs of {store}: http://{address}:{port} (Ctrl-C stops it)")
    environment = {
        **os.environ,
        "MECHBENCH_STORE": str(store),
        "MECHBENCH_MODELS": os.pathsep.join(str(folder.absolute()) for folder in models or ()),
        "MECHBENCH_LOGIN": "1" if login else "0",
        "PYTHONPATH": os.pathsep.join([_pages(), *_given("PYTHONPATH")]),
    }
    command = streamlit_command(port, address=address, hosts=allow_host or ())
    raise typer.Exit(subprocess.call(command, env=environment))


def streamlit_command(
    port: int, *, address: str = _LOOPBACK, hosts: Sequence[str] = ()
) -> list[str]:
    """The command that serves the dashboard; requests for other hosts are refused."""
    options = {**_OPTIONS, "server.address": address, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    allowed = dict.fromkeys([*_HOSTS, *([] if is_loopback(address) else [address]), *hosts])
    flags += [f"--server.allowedHosts={host}" for host in allowed]
    app = Path(_pages()) / "apps" / "dashboard.py"
    return [sys.executable, "-m", "streamlit", "run", str(app), *flags]


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the address.

    Raises:
        SpecError: no IP address.
    """
    try:
        return address == "localhost" or ip_address(address).is_loopback
    except ValueError:
        raise SpecError(
            f"--address {address!r} is no IP address. Leave it out to serve this machine alone, or "
            "give the address of one of its networks; names go into --allow-host."
        ) from None


def check_login(secrets: Path, address: str) -> None:
    """Raises SpecError where nobody would have to log in at a public ``address``."""
    wanted = (
        f"--address {address} can be reached from other machines, so users must log in: put "
        f"{', '.join(_AUTH_KEYS)} of an OpenID Connect provider into [auth] of {str(secrets)!r} "
        "and install streamlit[auth]. Or leave --address out and reach this machine by ssh -L."
    )
    try:
        auth = tomllib.loads(secrets.read_text(encoding="utf-8")).get("auth", {})
    except FileNotFoundError:
        raise SpecError(f"There is no {str(secrets)!r}. {wanted}") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{str(secrets)!r} cannot be read ({error}). {wanted}") from None
    missing = [key for key in _AUTH_KEYS if not auth.get(key)]
    if missing:
        raise SpecError(f"[auth] lacks {', '.join(missing)}. {wanted}")
    if find_spec("authlib") is None:
        raise SpecError(f"The package authlib is not installed. {wanted}")


def _pages() -> str:
    from mechbench.resources import bundled

    return str(bundled("apps").parent)


def _given(name: str) -> list[str]:
    return [os.environ[name]] if os.environ.get(name) else []
