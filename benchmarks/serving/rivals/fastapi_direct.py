"""FastAPI as its documentation shows it: plain `def` functions in the thread pool, one model call for each request."""

from fastapi import FastAPI, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from model import Model, decode

app = FastAPI()
model = Model()


@app.post("/multipart")
def multipart(file: UploadFile) -> dict[str, list[float]]:
    """Classify a picture in a field of a form; FastAPI runs this in its thread pool."""
    return classify(file.file.read())


@app.post("/raw")
async def raw(request: Request) -> dict[str, list[float]]:
    """Classify a picture sent as the body, which only an async route can read."""
    return await run_in_threadpool(classify, await request.body())


def classify(data: bytes) -> dict[str, list[float]]:
    """Decode and classify one picture."""
    return {"probabilities": model.classify([decode(data)])[0]}
