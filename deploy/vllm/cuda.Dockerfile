# vLLM's own image for NVIDIA GPUs, with a user that is not root and a health check.
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0
FROM ${VLLM_IMAGE}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reclm \
    && install -d -o reclm -g reclm /var/cache/vllm
ENV HOME=/tmp \
    VLLM_CACHE_ROOT=/var/cache/vllm \
    XDG_CACHE_HOME=/var/cache/vllm/xdg \
    TRITON_CACHE_DIR=/var/cache/vllm/triton \
    TORCHINDUCTOR_CACHE_DIR=/var/cache/vllm/inductor \
    FLASHINFER_WORKSPACE_BASE=/var/cache/vllm/flashinfer \
    HF_HUB_OFFLINE=1 \
    VLLM_NO_USAGE_STATS=1 \
    DO_NOT_TRACK=1
LABEL org.opencontainers.image.title="reclm-vllm-cuda" \
    org.opencontainers.image.description="vLLM on NVIDIA GPUs, as RecLM runs it" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.32.0"
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=900s --retries=6 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
COPY deploy/vllm/start.sh /usr/local/bin/reclm-vllm
ENTRYPOINT ["sh", "/usr/local/bin/reclm-vllm"]
