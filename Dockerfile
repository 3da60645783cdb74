# Every step in one image: docker run -e UVICORN_APP=steps.step03_broadcast.main:app runs step 3.

FROM python:3.13-slim AS build
# uv stays behind in this stage: what runs needs no installer.
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /app
# Bytecode is compiled here, for the user who runs the server may not write it.
# The Python of the base image is the one that will run: never fetch another.
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
# Without the code: this layer is made again only when the lock changes.
COPY pyproject.toml uv.lock ./
# --locked: a lock that does not fit pyproject.toml fails here, not in production.
RUN uv sync --locked --no-default-groups --group signin --group scale

FROM python:3.13-slim
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY steps steps
# Where steps from 11 on keep what was said. A volume there outlives the container: -v chat:/data
RUN install -d -o 10001 -g 10001 /data
# uvicorn reads any option from the environment too, so that -e changes it and no shell is needed.
# Whoever does not answer the goodbye is left after 5 s, because docker stop kills after 10.
# A larger frame ends its connection before it is in memory. In production the steps from 9 on do
# not start without -e CHAT_SECRET.
ENV PATH=/app/.venv/bin:$PATH \
    CHAT_ENVIRONMENT=production \
    CHAT_LOG=sqlite:////data/chat.db \
    UVICORN_APP=steps.step13_scale.main:app \
    UVICORN_HOST=0.0.0.0 \
    UVICORN_PORT=8000 \
    UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=5 \
    UVICORN_WS_MAX_SIZE=65536
# A number, so that Kubernetes can see it is not root. It owns /data alone: it cannot change the code.
USER 10001:10001
EXPOSE 8000
# Any answer below 500 is healthy: steps 1 to 4 have no /healthz, and a 404 shows that they serve.
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "\
import http.client, os; \
server = http.client.HTTPConnection('127.0.0.1:' + os.environ['UVICORN_PORT'], timeout=2); \
server.request('GET', '/healthz'); \
exit(server.getresponse().status >= 500)"]
# A list, not a string: no shell stands between SIGTERM and uvicorn.
CMD ["uvicorn"]
