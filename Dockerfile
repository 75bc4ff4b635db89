# A small image that serves conf/chat.toml. docs/deploy.md shows how to build and run it, and how to serve your own file.

ARG PYTHON=3.13

# The first stage has a compiler, for the compiled loops of fws. Nothing of it but the virtual environment is kept.
FROM python:${PYTHON}-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY fws fws
RUN python -m venv /opt/fws && /opt/fws/bin/pip install --no-cache-dir .
# Without a compiler the installation succeeds all the same, and is slower. Here that is an error.
RUN /opt/fws/bin/fws --version | grep compiled

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="fws" \
      org.opencontainers.image.description="A WebSocket server whose behaviour is pipelines of filters" \
      org.opencontainers.image.licenses="MIT"
# tini is process 1: it passes signals on to fws, and reaps the orphans of programs that `exec` has started.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
# The user's number is fixed, because volumes and Kubernetes refer to it.
RUN groupadd --system --gid 10001 fws && useradd --system --uid 10001 --gid fws --no-create-home fws && \
    install -d -o fws -g fws -m 700 /run/fws
COPY --from=build /opt/fws /opt/fws
WORKDIR /srv/fws
COPY conf conf
COPY pipelines pipelines
# Control sockets are in /run/fws. It is the only folder in which fws writes, so the rest may be read-only.
ENV PATH=/opt/fws/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNTIME_DIRECTORY=/run/fws \
    TMPDIR=/run/fws
USER 10001:10001
EXPOSE 9000
STOPSIGNAL SIGTERM
# The control socket answers, whatever the file listens on. `docker ps` and compose show the result.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s CMD ["fws", "health"]
ENTRYPOINT ["tini", "--"]
CMD ["fws", "run", "conf/chat.toml", "--listen", "0.0.0.0:9000"]
