"use strict";
// The viewer of the page: NiiVue, with one scan at a time out of those that lie in the page.
(() => {
  const section = document.getElementById("viewer");
  const canvas = section.querySelector("canvas");
  const status = section.querySelector("[role=status]");
  const layers = ["truth", "prediction"].filter((name) => section.querySelector(`[data-layer=${name}]`));
  const style = getComputedStyle(document.documentElement);
  const text = (scan, name) => document.getElementById(`volume-${scan}-${name}`).textContent;
  let viewer = null;
  let asked = 0;

  const colours = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim().slice(1);
    const [r, g, b] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return { R: [0, r], G: [0, g], B: [0, b], A: [0, 255], I: [0, 255] };
  };

  const begin = async () => {
    viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.85, 0.85, 0.85, 0.8],
      crosshairWidth: 0.3,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      show3Dcrosshair: true,
    });
    await viewer.attachToCanvas(canvas);
    for (const name of layers) viewer.addColormap(`duoseg-${name}`, colours(name));
  };

  const shown = (name) => section.querySelector(`[data-layer=${name}]`).checked;

  const show = async (scan) => {
    const turn = ++asked;
    status.textContent = "Loading …";
    if (!viewer) await begin();
    const volumes = [];
    for (const name of ["image", ...layers]) {
      const mask = name !== "image";
      volumes.push(await niivue.NVImage.loadFromBase64({
        base64: text(scan, name),
        name: `${name}.nii.gz`,
        colormap: mask ? `duoseg-${name}` : "gray",
        opacity: mask ? 0.5 : 1,
        cal_min: mask ? 0.5 : 0,
        cal_max: mask ? 1 : 255,
      }));
    }
    if (turn !== asked) return; // another scan was chosen in the meantime
    while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[0]);
    for (const volume of volumes) viewer.addVolume(volume);
    for (const name of layers) layer(name);
    body();
    status.textContent = "";
    section.dataset.shown = scan;
  };

  const layer = (name) => {
    viewer.setOpacity(1 + layers.indexOf(name), shown(name) ? 0.5 : 0);
  };

  const body = () => {
    const alone = section.querySelector("[data-render]").checked;
    viewer.setSliceType(alone ? viewer.sliceTypeRender : viewer.sliceTypeMultiplanar);
    viewer.setOpacity(0, alone ? 0 : 1); // the scan around it would hide it
  };

  const fail = (fault) => {
    status.textContent = `The viewer cannot run here (${fault.message ?? fault}); the pictures above show the same scans.`;
  };

  section.querySelector("[data-open]").addEventListener("click", (event) => {
    event.currentTarget.hidden = true;
    section.classList.add("open");
    show(section.querySelector("[name=scan]:checked").value).catch(fail);
  });
  for (const choice of section.querySelectorAll("[name=scan]")) {
    choice.addEventListener("change", () => show(choice.value).catch(fail));
  }
  for (const name of layers) {
    section.querySelector(`[data-layer=${name}]`).addEventListener("change", () => viewer && layer(name));
  }
  section.querySelector("[data-render]").addEventListener("change", () => viewer && body());
})();
