# The sidecar as an image: hash-locked wheels and this tree, nothing else. Runs as a numeric user,
# writes no file, and needs no shell, so `--read-only --cap-drop ALL` changes nothing for it.
# Needs Docker 25 or newer (`--start-interval`).
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt /build/
# Wheels only: building an sdist would run code that no hash of a reviewed wheel stands for.
RUN python -m venv --without-pip /opt/toolbooth \
 && python -m pip --python /opt/toolbooth/bin/python install \
      --require-hashes --only-binary :all: --no-compile -r /build/requirements.txt
# Pure Python, so it is copied rather than built: no build backend has to be fetched.
COPY proxy/ /build/proxy/
RUN cp -r /build/proxy "$(/opt/toolbooth/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/" \
 && printf '%s\n' '#!/opt/toolbooth/bin/python' 'import sys' 'from proxy.cli import main' 'sys.exit(main())' \
      > /opt/toolbooth/bin/toolbooth \
 && chmod 755 /opt/toolbooth/bin/toolbooth \
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
