internal import FoundationEssentials
internal import Model

/// A target's budget and what was used of it, as `syscrap touch` shows them.
///
/// `{target, budget, logins_last_hour, channels_now, minute, worst_minute, hour, gathering, forecast}`. A use is
/// `{logins, channels_opened, channels_at_once, commands, polls, bytes_received, bytes_sent, bytes, cpu_ms_estimated,
/// looks_shed, looks_stretched}`; `worst_minute` has `began`, too.
struct TouchReport {
  var target: String
  var budget: TouchBudget
  var account: TouchLedger.Account
  var forecast: TouchForecast
  /// How the metrics fare; nil when nothing is gathered.
  var gathering: Value?
  var now: Date

  var value: Value {
    let report = account.report(budget)
    var fields: [String: Value] = [
      "target": .string(target), "budget": budget.value, "minute": Self.value(report.minute),
      "hour": Self.value(report.hour), "channels_now": .int(Int64(report.channels)),
      "logins_last_hour": .int(Int64(account.loginAges.count)),
      "forecast": [
        "commands": Self.figure(forecast.commands), "bytes": Self.figure(forecast.bytes),
        "cpu_ms": Self.figure(forecast.cpu / .milliseconds(1)),
      ],
    ]
    if let worst = report.worst {
      var use = Self.value(worst.use).fields ?? [:]
      use["began"] = .date(now.addingTimeInterval(-(worst.age / .seconds(1))))
      use["share"] = .double((budget.share(of: worst.use) * 1000).rounded() / 1000)
      fields["worst_minute"] = .object(use)
    }
    fields["gathering"] = gathering
    return .object(fields)
  }

  private static func value(_ use: TouchUse) -> Value {
    [
      "logins": .int(Int64(use.logins)), "channels_opened": .int(Int64(use.channelsOpened)),
      "channels_at_once": .int(Int64(use.mostChannels)), "commands": .int(Int64(use.commands)),
      "polls": .int(Int64(use.polls)), "bytes_received": .int(use.received), "bytes_sent": .int(use.sent),
      "bytes": .int(use.bytes), "cpu_ms_estimated": figure(use.cpu / .milliseconds(1)),
      "looks_shed": .int(Int64(use.shed)), "looks_stretched": .int(Int64(use.stretched)),
    ]
  }

  private static func figure(_ number: Double) -> Value { .double((number * 10).rounded() / 10) }
}
