# Three images: `serving` (the default), `training`, and `proxy`, which is nginx in front of several of the first.

# `BASE=... docker compose build` uses another patch release, or the digest of an image that you checked.
ARG BASE=python:3.11.17-slim-bookworm
FROM ${BASE} AS python
ENV PATH=/venv/bin:$PATH
WORKDIR /service

FROM python AS packages
COPY requirements/serving.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --quiet --require-hashes -r requirements/serving.txt

FROM packages AS training
RUN apt-get update \
    && apt-get install -y --no-install-recommends dataset-fashion-mnist \
    && rm -r /var/lib/apt/lists/*
COPY requirements/training.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /venv/bin/python install --quiet --require-hashes -r requirements/training.txt
COPY app app
COPY training training
RUN mkdir models runs && chmod -R a+rX .
# For the caches of Keras and Matplotlib: the job runs as a user without a home.
ENV HOME=/tmp
# What the job writes belongs to the owner of the mounted models/, whoever that is on the host.
ENTRYPOINT ["sh", "-c", "chown --reference=models runs \
    && exec setpriv --reuid=$(stat -c %u models) --regid=$(stat -c %g models) --clear-groups \
    python -m training \"$@\"", "training"]

FROM python AS proxy
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx-light \
    && rm -r /var/lib/apt/lists/*
COPY deploy/nginx.conf /etc/nginx/nginx.conf
EXPOSE 8000
USER 10001:10001
# On SIGTERM nginx drops the requests in progress; on SIGQUIT it answers them first.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; \
    build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]

FROM packages AS pruned
RUN apt-get update && apt-get install -y --no-install-recommends binutils
# TensorFlow declares these and runs without them: a SavedModel needs no Keras, a single machine no gRPC, and neither XLA
# nor StableHLO is used. ONNX Runtime's tools only make and convert networks, and its library is there a second time for
# other languages. Only the packages named are stripped, since stripping breaks NumPy's libraries. Bytecode stays, since
# compiling it doubles the start time.
RUN pip --python /venv/bin/python uninstall --quiet -y \
        grpcio h5py keras libclang markdown-it-py mdurl namex optree pygments rich setuptools wheel \
    && site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && find "$site/numpy" -name tests -type d -prune -exec rm -r {} + \
    && rm -r "$site/tensorflow/include" \
        "$site/tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so" \
        "$site/tensorflow/compiler/tf2xla/ops/_xla_ops.so" \
        "$site"/onnxruntime/backend "$site"/onnxruntime/datasets "$site"/onnxruntime/quantization \
        "$site"/onnxruntime/tools "$site"/onnxruntime/transformers "$site"/onnxruntime/capi/libonnxruntime.so.* \
    && for package in PIL httptools tensorflow uvloop; do \
        find "$site/$package" -name '*.so*' -type f -exec strip --strip-unneeded {} +; done \
    && python -c 'import httptools, tensorflow, uvloop; from PIL import Image; Image.init()'

FROM python AS bill
COPY requirements/sbom.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip pip install --quiet --require-hashes -r requirements/sbom.txt
COPY pyproject.toml .
COPY --from=pruned /venv /venv
RUN cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
    --output-file /sbom.cdx.json /venv/bin/python

FROM python AS serving
RUN pip uninstall --quiet -y pip setuptools wheel && rm -r /usr/local/lib/python3.*/ensurepip
COPY --from=pruned /venv /venv
COPY --from=bill /sbom.cdx.json /
COPY LICENSE .
COPY app app
COPY models models
# Creating the application here verifies the artifact, replays its golden set on the pruned packages, and leaves the
# bytecode of everything it imports.
RUN chmod -R a+rX . && python -c 'from app.main import app_from_environment; app_from_environment()'
LABEL org.opencontainers.image.title="Fashion-MNIST service" org.opencontainers.image.licenses="MIT AND Apache-2.0"
ENV FASHION_HOST=0.0.0.0 FASHION_PORT=8000 FASHION_WORKERS=2 FASHION_LOG_FORMAT=json
# With an arena for each thread, glibc keeps twice as much of the memory that large pictures took.
ENV MALLOC_ARENA_MAX=2
# NumPy and OpenCV each start a thread for every core of the host, whatever the container may use, and need none.
ENV OPENBLAS_NUM_THREADS=1
EXPOSE 8000
USER 10001:10001
# ProxyHandler({}): a Docker client may pass its proxy settings to every container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from os import environ; from urllib.request import ProxyHandler, build_opener; \
    build_opener(ProxyHandler({})).open('http://127.0.0.1:' + environ['FASHION_PORT'] + '/health/ready', timeout=4)"]
CMD ["python", "-m", "app"]
