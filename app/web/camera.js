// Takes a picture with a desktop's camera; phones open their own.

const $ = (id) => document.getElementById(id);

export function listen(take) {
  const [dialog, video, problem] = [$("camera"), $("video"), $("camera-problem")];
  let opening = 0; // a camera may answer after the dialog was closed, or even opened anew
  $("open-camera").hidden = !navigator.mediaDevices?.getUserMedia || matchMedia("(pointer: coarse)").matches;

  $("open-camera").addEventListener("click", async () => {
    problem.hidden = true;
    $("shoot").disabled = true;
    dialog.showModal();
    opening += 1;
    const mine = opening;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 1280 } });
      if (!dialog.open || mine !== opening) return stop(stream);
      video.srcObject = stream;
      await video.play();
      $("shoot").disabled = false;
    } catch (error) {
      if (mine !== opening) return;
      problem.textContent =
        error.name === "NotAllowedError"
          ? "The browser was not allowed to use the camera. Allow it next to the address, then try again."
          : "No camera responds. Connect one, or choose a picture instead.";
      problem.hidden = false;
    }
  });

  $("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take([new File([blob], "camera.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.9);
    dialog.close();
  });

  $("close-camera").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stop(video.srcObject);
    video.srcObject = null;
  });
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
