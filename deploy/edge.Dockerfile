# docker build --file deploy/edge.Dockerfile --tag mobility-edge .
FROM python:3.11-slim
WORKDIR /opt/mobility
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY requirements/edge.lock requirements/
COPY protocol protocol
COPY edge edge
RUN pip install --no-cache-dir --require-hashes --requirement requirements/edge.lock \
    && pip install --no-cache-dir hatchling \
    && pip install --no-cache-dir --no-deps --no-build-isolation . \
    && pip uninstall --yes hatchling \
    && rm -rf edge protocol
VOLUME /var/lib/mobility
ENTRYPOINT ["mobility-edge"]
CMD ["run", "--config", "/var/lib/mobility/agent.toml"]
