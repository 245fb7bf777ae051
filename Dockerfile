# gan_ablate on GPUs. The host needs NVIDIA's driver and its container toolkit; torch's wheels bring CUDA.
#   docker build -t gan_ablate .
#   docker run --rm --gpus all --shm-size 2g --user "$(id -u):$(id -g)" -v "$PWD/runs:/work/runs" gan_ablate sweep smoke
FROM python:3.11-slim

RUN pip install --no-cache-dir uv
WORKDIR /opt/gan_ablate
COPY pyproject.toml setup.py MANIFEST.in constraints.txt README.md LICENSE ./
COPY sweeps sweeps
COPY gan_ablate gan_ablate
RUN uv pip install --system --no-cache -c constraints.txt ".[slurm]"

# where a user without a home may write; datasets and classifiers are cached there
ENV HOME=/work GAN_ABLATE_DATA=/work/data GAN_ABLATE_CACHE=/work/cache
RUN mkdir -m 777 /work
WORKDIR /work
ENTRYPOINT ["gan-ablate"]
CMD ["--help"]
