internal import Logging

extension SupervisionEvent {
  func log(to logger: Logger) {
    var metadata: Logger.Metadata = ["supervision.path": "\(path.joined(separator: "/"))"]
    switch kind {
    case .restarted(let error, let restarts):
      metadata["error"] = "\(error)"
      metadata["supervision.restarts"] = "\(restarts)"
      logger.info("A child failed and is started again", metadata: metadata)
    case .gaveUp(let error):
      metadata["error"] = "\(error)"
      logger.warning("A child failed and is not started again", metadata: metadata)
    case .escalated(let error):
      metadata["error"] = "\(error)"
      logger.error("A supervisor gave up and leaves the decision to its parent", metadata: metadata)
    case .hung(let limit):
      metadata["supervision.limit"] = "\(limit)"
      logger.warning("A child has hung", metadata: metadata)
    case .abandoned(let zombies):
      metadata["supervision.zombies"] = "\(zombies)"
      logger.warning("A child is deaf to cancellation; it was fenced and abandoned", metadata: metadata)
    case .zombieLimit(let zombies):
      metadata["supervision.zombies"] = "\(zombies)"
      logger.critical("Too many abandoned children; the process is to be started anew", metadata: metadata)
    case .populationFailed(let error):
      metadata["error"] = "\(error)"
      logger.warning("A populator failed; what ran goes on", metadata: metadata)
    }
  }
}
