// Names of rooms: easy to say over a telephone.

const HOW = ('amber brave brisk calm clear clever copper coral daring early eager fair fleet gentle golden happy honest '
  + 'humble jolly keen kind lively loyal lucky mellow merry misty modest noble patient placid proud quick quiet rapid '
  + 'ready rosy royal silver simple snowy sober solar steady sunny swift tidy tender upbeat velvet warm wise witty').split(' ');
const WHO = ('badger beacon birch bridge brook cedar cliff comet crane delta eagle elm falcon fern finch fjord forest '
  + 'fox garden glade harbor hare hawk heron hill island jay lake lark linden lynx maple meadow mill moor moss mountain '
  + 'oak orchid osprey otter owl pebble pine plover pond raven reef ridge river robin sparrow spruce stork stream '
  + 'summit swallow swan thicket tower trout valley willow wren').split(' ');
const RECENT = 'chappe-rooms';
const RECENT_MAX = 5;

/** A new name. Three words and a number: nobody meets another's room by chance. */
export function newRoomName() {
  const [a, b, c, n] = crypto.getRandomValues(new Uint32Array(4));
  return `${HOW[a % HOW.length]}-${WHO[b % WHO.length]}-${WHO[c % WHO.length]}-${100 + (n % 900)}`;
}

/** What a node accepts as a room's name. */
export function isRoomName(text) {
  return /^[A-Za-z0-9_.~:@-]{1,128}$/.test(text);
}

/** The rooms that this browser was in last. */
export function recentRooms() {
  try {
    const rooms = JSON.parse(localStorage.getItem(RECENT) ?? '[]');
    return rooms.filter((room) => typeof room === 'string' && isRoomName(room)).slice(0, RECENT_MAX);
  } catch {
    return [];
  }
}

/** Remembers one. */
export function rememberRoom(name) {
  try {
    localStorage.setItem(RECENT, JSON.stringify([name, ...recentRooms().filter((room) => room !== name)].slice(0, RECENT_MAX)));
  } catch {
    // A browser that keeps nothing.
  }
}
