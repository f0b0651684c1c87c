internal import FoundationEssentials
internal import Model
internal import Storage

/// Episodes as documents of `episodes`: `{_id, reaction, condition, open, listed, fence, body}`.
///
/// `condition` names what the episode is about, `open` whether it lasts, `listed` is its place in lists, `body` all of
/// it. Raising the fence writes `fence` into those with `open: true`. `unconfirmed` and `taken_back`: see
/// ``QueueSession/confirm(_:id:)``.
enum EpisodeDocument {
  /// What is set each time; `_id` comes from the filter.
  static func fields(_ episode: Episode, body: BSON, fence: Int64, _ w: inout BSONWriter) {
    w.string("reaction", episode.key.reaction)
    w.string("condition", episode.key.text)
    w.bool("open", episode.isOpen)
    w.date("listed", episode.isOpen ? episode.since : episode.ended_at ?? episode.since)
    w.int("fence", fence)
    w.raw("body", body)
  }

  /// What an episode is marked with until it is certain that its writer has the gathering; looked for as an outbox is.
  static func unconfirmed(_ number: Int64, hasOutbox: Bool, _ w: inout BSONWriter) {
    w.int("unconfirmed", number)
    if !hasOutbox { w.bool("unfinished", true) }
  }

  /// The fields that tell what is still to be done about an episode, as a projection.
  static func promise(_ w: inout BSONWriter) {
    for field in ["outbox", "outbox_number", "unconfirmed", "fence", "taken_back"] { w.int32(field, 1) }
  }

  static func episode(_ document: BSON) throws -> Episode {
    guard let body = document["body"]?.documentValue else { throw BSONError.malformed }
    return try BSONDecoder().decode(Episode.self, from: body)
  }
}
