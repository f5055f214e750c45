# The sidecar as an image: hash-locked wheels and this tree compiled, nothing else. Runs as a numeric user,
# writes no file, and needs no shell, so `--read-only --cap-drop ALL` changes nothing for it.
# Needs Docker 25 or newer (`--start-interval`: leave it out for a builder that does not know it).
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# What compiles the data path stays in this stage: /build/tools and a compiler. /opt/toolbooth runs.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends gcc libc6-dev
COPY requirements.txt requirements-build.txt /build/
# Wheels only: building an sdist would run code that no hash of a reviewed wheel stands for.
RUN python -m venv --without-pip /opt/toolbooth \
 && python -m pip --python /opt/toolbooth/bin/python install \
      --require-hashes --only-binary :all: --no-compile --requirement /build/requirements.txt
RUN python -m venv --without-pip /build/tools \
 && python -m pip --python /build/tools/bin/python install \
      --require-hashes --only-binary :all: --requirement /build/requirements-build.txt
COPY pyproject.toml setup.py README.md LICENSE /build/source/
COPY config/demo.yaml /build/source/config/demo.yaml
COPY proxy/ /build/source/proxy/
# From here on nothing is fetched: what builds is there, and the wheel asks for no dependency. An image
# that could not be compiled is an error (`1`), not a slow one.
RUN TOOLBOOTH_COMPILE=1 python -m pip --python /build/tools/bin/python wheel \
      --no-index --no-deps --no-build-isolation --wheel-dir /build/wheel /build/source \
 && python -m pip --python /opt/toolbooth/bin/python install \
      --no-index --no-deps --no-compile /build/wheel/*.whl \
 && /opt/toolbooth/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/toolbooth/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="toolbooth" \
      org.opencontainers.image.description="A tool-call sidecar proxy for agents" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/toolbooth /opt/toolbooth
# The policy of a fresh installation refuses everything; mount another one over it.
COPY config/policy.yaml /etc/toolbooth/policy.yaml
# The control API stays on loopback, its default: reach it with `docker exec ... toolbooth kill`.
ENV PATH=/opt/toolbooth/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOOLBOOTH_POLICY=/etc/toolbooth/policy.yaml \
    TOOLBOOTH_PROXY_LISTEN=0.0.0.0:8080 \
    TOOLBOOTH_HEALTH_LISTEN=0.0.0.0:8082
WORKDIR /
USER 65532:65532
EXPOSE 8080 8082
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --start-interval=1s --retries=3 \
  CMD ["toolbooth", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["toolbooth"]
CMD ["run"]
