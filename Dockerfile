# syntax=docker/dockerfile:1
# The server alone: docker build -t kzoo-serve . && docker compose up

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY kzoo kzoo
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm AS packages
WORKDIR /source
COPY constraints.txt deploy/requirements.txt ./
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/kzoo \
    && /opt/kzoo/bin/pip install --no-cache-dir -c constraints.txt -r requirements.txt \
    && /opt/kzoo/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/kzoo/bin/pip uninstall --yes pip setuptools \
    && find /opt/kzoo -name tests -type d -prune -exec rm -r {} + \
    && find /opt/kzoo -name 'libopenvino_intel_[gn]pu_plugin.so' -delete -o -path '*/openvino/libs/cache.json' -delete

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin kzoo
COPY --from=packages /opt/kzoo /opt/kzoo
ENV PATH=/opt/kzoo/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=2)"]
# Exports lie in /exports (NAME/VERSION/), mounted for reading; KZOO_API_KEY holds the key.
ENTRYPOINT ["kzoo", "serve", "/exports", "--host", "0.0.0.0", "--log-format", "json"]
CMD ["--watch"]
