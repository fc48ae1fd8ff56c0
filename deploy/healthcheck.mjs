// Health check of the image: exits 0 when the service in this container answers /healthz. The image has no curl.
const { HOST, PORT } = process.env;
const host = !HOST || HOST === '0.0.0.0' || HOST === '::' ? '127.0.0.1' : HOST;
const url = `http://${host.includes(':') ? `[${host}]` : host}:${PORT || '8000'}/healthz`;
const healthy = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(4_000) }).then(
  (response) => response.ok,
  () => false,
);
process.exit(healthy ? 0 : 1);
