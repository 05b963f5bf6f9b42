// A third-party client: prints one line for each event.
const { WebSocketManager, WebSocketShardEvents, CompressionMethod } = require('@discordjs/ws');
const { REST } = require('@discordjs/rest');

const [api, token, compression] = process.argv.slice(2);
const rest = new REST({ version: '10', api }).setToken(token);
const manager = new WebSocketManager({
  token,
  intents: 513,
  compression: compression === 'zlib-stream' ? CompressionMethod.ZlibNative : null,
  useIdentifyCompression: compression === 'payload',
  rest,
});
manager.on(WebSocketShardEvents.Ready, () => console.log('ready'));
manager.on(WebSocketShardEvents.Resumed, () => console.log('resumed'));
manager.on(WebSocketShardEvents.Error, (error) => console.log('error', error));
manager.on(WebSocketShardEvents.Dispatch, (payload) => {
  const data = payload.data ?? payload;
  if (data.t === 'MESSAGE_CREATE') console.log('message', data.d.content);
  if (data.t === 'MESSAGE_CREATE' && data.d.content === 'stop') manager.destroy().then(() => process.exit(0));
});
manager.connect().catch((error) => { console.log('error', error); process.exit(1); });
