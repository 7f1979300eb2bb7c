// Takes a picture with a desktop's camera; phones open their own.

const $ = (id) => document.getElementById(id);

const PROBLEMS = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it next to the address, then open this again.",
  NotReadableError: "Another program may be using the camera. Close it there, then open this again.",
  ended: "The camera has stopped. Connect it, then open this again.",
};

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
      stream.getVideoTracks()[0].addEventListener("ended", () => fail("ended"));
      $("shoot").disabled = false;
      $("shoot").focus(); // which also tells a screen reader that the camera is ready
    } catch (error) {
      if (mine !== opening) return;
      fail(error.name);
    }
  });

  function fail(name) {
    problem.textContent = PROBLEMS[name] ?? "No camera responds. Connect one, or choose a picture instead.";
    problem.hidden = false;
    $("shoot").disabled = true;
  }

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
