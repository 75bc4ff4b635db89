"""Package metadata; pyproject.toml holds the settings of tools only."""

import os
import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

here = Path(__file__).parent

# A package index shows the README without the files that it links to. Their names stay, as text.
readme = (here / "README.md").read_text()
description = re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"`\1`", readme)
version = re.search(r'__version__ = "([^"]+)"', (here / "fws" / "__init__.py").read_text()).group(1)

# Without a compiler fws is installed without its compiled functions, and is slower. With FWS_PURE_WHEEL=1 they are not
# even tried, which makes a wheel for every system.
native = Extension("fws._native", ["fws/_native.c"], extra_compile_args=["-O3"], optional=True)
pure = os.environ.get("FWS_PURE_WHEEL") == "1"

setup(
    name="fws",
    version=version,
    description="Filtered WebSocket: a server whose behaviour is a pipeline of filters, declared in a TOML file",
    long_description=description,
    long_description_content_type="text/markdown",
    author="the founders of fws",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    ext_modules=[] if pure else [native],
    packages=find_packages(include=["fws", "fws.*"]),
    # All that MANIFEST.in names under fws/: templates, pages, py.typed.
    include_package_data=True,
    exclude_package_data={"fws": ["_native.c"]},
    install_requires=[
        "gevent>=24.2",
        "gevent-websocket>=0.10.1,<0.11",  # the handler that fws's own replaces step by step
        "redis>=5",
        "toml>=0.10.2,<0.11",  # the loader guards against the faults of exactly this one
        "msgspec>=0.19",
        "click>=8.1",
        "rich>=13",
        "websockets>=15",  # its compiled unmasking, and the client of `fws connect`
        "werkzeug>=3",
        "pyjwt[crypto]>=2.8",
        "urllib3>=2.2",  # connections to HTTP services
        "jsonschema-rs>=0.30",  # the filter schema; it and the next three are imported by their users only
        "jq>=1.8",
        "jinja2>=3.1",  # the sandbox of the filter template
        "cronsim>=2.5",  # times of schedules
        "prometheus-client>=0.20",  # the text format of /metrics
    ],
    extras_require={
        # Traces: pip install fws[otel].
        "otel": ["opentelemetry-sdk>=1.25", "opentelemetry-exporter-otlp-proto-http>=1.25", "requests>=2.28"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "build>=1",
            "setuptools>=61",
            "wheel",
            "hypothesis>=6",
            "cryptography>=42",
            "h11>=0.14",
            "websocket-client>=1.8",
            "playwright>=1.40",
            "honcho>=1.1",
            "cent>=5",  # Centrifugo's own client of its HTTP API
            "flask>=3",  # the examples of docs/api.md
            "django>=5",
            "centrifuge-python>=0.7",  # one of its SDKs
            "opentelemetry-sdk>=1.25",
            "opentelemetry-exporter-otlp-proto-http>=1.25",
            "pyyaml>=6",  # the files in ops/
        ],
        "fuzz": ["atheris>=3"],  # wheels for Linux on x86-64
        "lint": ["ruff>=0.6", "mypy>=1.11", "types-toml", "types-pyyaml"],
    },
    entry_points={
        "console_scripts": ["fws=fws.__main__:main"],
        # pytest then collects the [[test]] sections of TOML files.
        "pytest11": ["fws=fws.pytest_plugin"],
    },
    keywords="websocket server gevent pipeline filter redis pubsub chat real-time",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Operating System :: POSIX",
        "Typing :: Typed",
    ],
)
