// A bot of discord.js: prints one line for each event, and answers `!hello` and `/ping`.
const { Client, Events, GatewayIntentBits } = require('discord.js');

const [api, token] = process.argv.slice(2);
const client = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages, GatewayIntentBits.MessageContent],
  rest: { api },
});
client.on(Events.ClientReady, () => console.log('ready'));
client.on(Events.ShardResume, () => console.log('resumed'));
client.on(Events.Error, (error) => console.log('error', error));
client.on(Events.Warn, (text) => console.log('error', text));
client.on(Events.MessageCreate, async (message) => {
  console.log('message', message.content);
  if (message.content === '!hello') await message.channel.send(`Hello, ${message.author.username}!`);
});
client.on(Events.InteractionCreate, async (interaction) => {
  if (interaction.commandName === 'ping') await interaction.reply('pong');
});
process.on('unhandledRejection', (error) => console.log('error', error));
client.login(token);
