"""`fws replay`: run recorded traffic through an edited configuration, and show what would be different."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from fws.base.errors import ConfigError
from fws.cli.show import problems_of
from fws.compiler.compile import load_generation
from fws.config import load
from fws.testing.replay import RecordingError, read_recording, text_of
from fws.testing.replay import replay as run
from fws.testing.simulation import SimulationError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("conf", type=click.Path())
@click.option("--examples", type=int, default=3, show_default=True, help="Events that are shown of each difference.")
def replay(file: Path, conf: str, examples: int) -> None:
    """Replay the recording FILE on CONF, offline and at full speed. Exit with 0 if nothing is different, else with 1.

    Times in messages are not compared. Secrets were masked when the traffic was recorded, so filters see the mask.
    """
    began = time.perf_counter()
    try:
        events = read_recording(file)
        generation = load_generation(conf)
        result = run(events, load(conf), os.environ)
    except ConfigError as error:
        click.echo(problems_of(error), err=True)
        sys.exit(1)
    except (RecordingError, SimulationError) as error:
        click.echo(f"fws: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"fws: {file}: {error.strerror}", err=True)
        sys.exit(1)
    places = {}
    for step in (step for pipeline in generation.pipelines() for step in pipeline.walk()):
        places[step.id.address] = generation.config.source.place(step.path).short
    seconds = time.perf_counter() - began
    click.echo(f"{result.events} events of {result.clients} clients, replayed on {conf} in {seconds:.2f} s")
    click.echo(text_of(result, places, examples))
    sys.exit(1 if result.differences else 0)
