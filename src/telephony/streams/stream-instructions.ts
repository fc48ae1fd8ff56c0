/**
 * What to paste where, so that a platform sends a call's audio here. Twilio takes the token as a parameter of the stream,
 * because it cuts query strings off its URLs; everywhere else it is the last segment of the path, which survives on every
 * platform (Plivo's extra headers may hold letters and digits only, Telnyx documents no way back for its parameters).
 * The token is a secret that works once, for the call it was made for.
 */
import type { StreamPlatform } from '../../domain/calls/calls.js';
import { streamPath, webSocketAddress } from './platforms.js';

export interface StreamInstructionsRequest {
  readonly platform: StreamPlatform;
  readonly token: string;
  /** Where the platform reaches this service, without a trailing slash, e.g. `https://auth.example.com`. */
  readonly publicUrl: string;
}

export interface StreamInstructions {
  /** Where the platform dials. Holds the token, except for Twilio. */
  readonly url: string;
  /** For Twilio: a document to answer the call with. */
  readonly twiml?: string;
  /** For people: what to do with it, in the platform's words. Holds the token. */
  readonly hint: string;
}

/** How to make `platform` stream a call to this service. */
export function streamInstructions({ platform, token, publicUrl }: StreamInstructionsRequest): StreamInstructions {
  const base = webSocketAddress(publicUrl);
  const url = base + streamPath(platform, token);
  switch (platform) {
    case 'twilio':
      return twilio(base + streamPath(platform), token);
    case 'telnyx':
      return {
        url,
        hint:
          'Call Control: POST /v2/calls/{call_control_id}/actions/streaming_start with the body ' +
          `${JSON.stringify({ stream_url: url, stream_track: 'inbound_track' })}. ` +
          `TeXML: <Start><Stream url="${xml(url)}" track="inbound_track"/></Start>`,
      };
    case 'plivo':
      return {
        url,
        hint:
          'Answer the call with this XML before what keeps it going: ' +
          `<Stream bidirectional="false" audioTrack="inbound" contentType="audio/x-l16;rate=16000">${xml(url)}</Stream>`,
      };
    case 'vapi_transcriber':
      return {
        url,
        hint:
          'Set this in the assistant: ' +
          `${JSON.stringify({ transcriber: { provider: 'custom-transcriber', server: { url } } })}. ` +
          'No transcripts are sent back, so the assistant hears nothing by it: for calls that need a transcript use the ' +
          'listen URL instead',
      };
  }
}

function twilio(url: string, token: string): StreamInstructions {
  const stream =
    `<Start><Stream url="${xml(url)}" track="inbound_track">` +
    `<Parameter name="token" value="${xml(token)}"/></Stream></Start>`;
  return {
    url,
    twiml: `<?xml version="1.0" encoding="UTF-8"?>\n<Response>${stream}<!-- what the call does next --></Response>`,
    hint:
      'Answer the call with this TwiML; Twilio hangs up unless another verb follows <Start>. ' +
      'The audio comes beside whatever the call does',
  };
}

function xml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;');
}
