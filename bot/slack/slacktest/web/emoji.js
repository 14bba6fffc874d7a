// The emoji that Berth, and whoever tries it, are likely to write by name.
export const emoji = {
  '+1': '👍', thumbsup: '👍', '-1': '👎', thumbsdown: '👎', eyes: '👀', rocket: '🚀', tada: '🎉', anchor: '⚓', ship: '🚢', sailboat: '⛵',
  white_check_mark: '✅', heavy_check_mark: '✔️', ballot_box_with_check: '☑️', x: '❌', no_entry: '⛔', no_entry_sign: '🚫', warning: '⚠️', rotating_light: '🚨',
  hourglass: '⌛', hourglass_flowing_sand: '⏳', stopwatch: '⏱️', clock1: '🕐', alarm_clock: '⏰', zzz: '💤', bed: '🛏️', sleeping: '😴', sunny: '☀️', sunrise: '🌅',
  lock: '🔒', unlock: '🔓', key: '🔑', closed_lock_with_key: '🔐', package: '📦', wastebasket: '🗑️', broom: '🧹', recycle: '♻️', arrows_counterclockwise: '🔄',
  repeat: '🔁', rewind: '⏪', leftwards_arrow_with_hook: '↩️', arrow_right: '➡️', arrow_up: '⬆️', arrow_down: '⬇️', link: '🔗', memo: '📝', clipboard: '📋',
  page_facing_up: '📄', scroll: '📜', mag: '🔍', bulb: '💡', wrench: '🔧', hammer_and_wrench: '🛠️', gear: '⚙️', construction: '🚧', fire: '🔥', boom: '💥',
  bell: '🔔', no_bell: '🔕', speech_balloon: '💬', question: '❓', exclamation: '❗', information_source: 'ℹ️', grey_question: '❔', raised_hand: '✋', wave: '👋',
  pray: '🙏', muscle: '💪', smile: '😄', slightly_smiling_face: '🙂', heart: '❤️', star: '⭐', sparkles: '✨', 100: '💯', stop_sign: '🛑', octagonal_sign: '🛑',
  red_circle: '🔴', large_green_circle: '🟢', large_yellow_circle: '🟡', large_blue_circle: '🔵', large_orange_circle: '🟠', white_circle: '⚪', black_circle: '⚫',
  black_large_square: '⬛', white_large_square: '⬜', pause_button: '⏸️', double_vertical_bar: '⏸️', arrow_forward: '▶️', black_square_for_stop: '⏹️',
  calendar: '📅', date: '📅', chart_with_upwards_trend: '📈', bar_chart: '📊', globe_with_meridians: '🌐', house: '🏠', robot_face: '🤖', bust_in_silhouette: '👤',
  busts_in_silhouette: '👥', floppy_disk: '💾', file_folder: '📁', open_file_folder: '📂', card_file_box: '🗃️', file_cabinet: '🗄️', pushpin: '📌', label: '🏷️',
  seedling: '🌱', herb: '🌿', snowflake: '❄️', thread: '🧵', test_tube: '🧪', shield: '🛡️', crossed_swords: '⚔️', checkered_flag: '🏁', ticket: '🎫',
};
