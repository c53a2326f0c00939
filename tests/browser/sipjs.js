// A phone by SIP.js. Its commands and events are those of jssip.js.

import { Inviter, Messager, SessionState, UserAgent } from "sip.js";
import { SessionManager } from "sip.js/lib/platform/web/index.js";
import { AUDIO, PEER_CONNECTION, happen, next, watch } from "./events.js";

let manager;
let session;
let answered = false;

function attend(begun) {
  session = begun;
  answered = false;
  session.stateChange.addListener((state) => {
    if (state !== SessionState.Terminated) return;
    if (answered) happen("ended");
    else if (!(session instanceof Inviter)) happen("failed", 0);
  });
}

// SIP.js has the code of the Close frame only in words.
const closeCode = (error) => Number(error?.message.match(/code: (\d+)/)?.[1] ?? 0);
const status = ({ message }) => message.statusCode;

window.phone = {
  next,

  async start({ server, uri, password, keepAlive = 0 }) {
    manager = new SessionManager(server, {
      aor: uri,
      autoStop: false, // or it unregisters in an event that browsers are giving up
      delegate: {
        onServerConnect: () => happen("connected"),
        onServerDisconnect: (error) => happen("disconnected", closeCode(error)),
        onRegistered: () => happen("registered"),
        onUnregistered: () => happen("unregistered"),
        onMessageReceived: (message) => happen("message", message.request.body),
        onCallCreated: attend,
        onCallReceived: (begun) => happen("call", begun.remoteIdentity.uri.toString()),
        onCallHold: (_, held) => happen(held ? "held" : "resumed"),
        onCallAnswered() {
          answered = true;
          happen("answered");
          watch(session.sessionDescriptionHandler.peerConnection);
        },
      },
      media: { constraints: AUDIO },
      reconnectionAttempts: 50,
      reconnectionDelay: 0.2,
      registrationRetryInterval: 0.2,
      userAgentOptions: {
        logConfiguration: false,
        authorizationUsername: UserAgent.makeURI(uri).user,
        authorizationPassword: password,
        sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: PEER_CONNECTION },
        transportOptions: { server, keepAliveInterval: keepAlive, keepAliveDebounce: 0 },
      },
    });
    // The delegate does not hear of a first connection that fails.
    await manager.connect().catch((error) => happen("disconnected", closeCode(error)));
  },

  register: () =>
    manager.register({ requestDelegate: { onReject: (response) => happen("refused", status(response)) } }),
  unregister: () => manager.unregister(),

  message(target, text) {
    const delivered = (response) => happen("delivered", status(response));
    new Messager(manager.userAgent, UserAgent.makeURI(target), text).message({
      requestDelegate: { onAccept: delivered, onReject: delivered },
    });
  },

  call(target) {
    const progress = (response) => happen("progress", status(response));
    const failed = (response) => happen("failed", status(response));
    return manager.call(target, undefined, { requestDelegate: { onProgress: progress, onReject: failed } });
  },
  answer: () => manager.answer(session),
  decline: () => manager.decline(session),
  hangUp: () => manager.hangup(session),

  hold: () => manager.hold(session),
  resume: () => manager.unhold(session),
  digit: (digit) => manager.sendDTMF(session, digit),
  transfer(target) {
    return manager.transfer(session, target, {
      requestDelegate: { onAccept: (response) => happen("transferring", status(response)) },
      onNotify(notification) {
        notification.accept();
        if (/^SIP\/2.0 200 /.test(notification.request.body)) happen("transferred");
      },
    });
  },

  stop: () => manager.disconnect(),
};
