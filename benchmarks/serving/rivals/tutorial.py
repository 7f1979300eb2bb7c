"""The tutorial way: `model.predict` for each request, in an async route, with one worker.

The artifact is a SavedModel, not a Keras model; Keras 3 wraps it in one as a TFSMLayer.
"""

import keras
import numpy as np
from fastapi import FastAPI, UploadFile
from model import ARTIFACT, decode

images = keras.Input((28, 28), dtype="uint8")
outputs = keras.layers.TFSMLayer(ARTIFACT, call_endpoint="serving_default")(images)
model = keras.Model(images, outputs["probabilities"])

app = FastAPI()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, list[float]]:
    """Classify one picture."""
    image = decode(await file.read())
    return {"probabilities": model.predict(np.expand_dims(image, 0), verbose=0)[0].tolist()}
