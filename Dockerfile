# One image that runs `up` (default), `web` or `worker`: docker run -p 127.0.0.1:7860:7860 -v tunesmith:/data tunesmith
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TUNESMITH_DATA_DIR=/data \
    TUNESMITH_HOST=0.0.0.0 \
    TUNESMITH_PORT=7860 \
    TUNESMITH_TRUSTED_NETWORK=1

RUN useradd --uid 1000 --create-home tunesmith \
    && install --directory --owner=tunesmith --group=tunesmith --mode=0700 /data

WORKDIR /opt/tunesmith
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY studio studio
COPY worker worker
COPY assets assets
RUN pip install .

USER 1000:1000
WORKDIR /home/tunesmith
VOLUME /data
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["tunesmith"]
CMD ["up"]
