internal import CCurl
internal import Glibc

// Free functions: a closure written where an actor is current would inherit that actor and end the process when
// libcurl calls it.

func onHeader(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let bytes, let context else { return 0 }
  let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  let line = Array(UnsafeRawBufferPointer(start: bytes, count: size * count))
  return exchange.received(header: line) ? size * count : 0
}

func onBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let bytes, let context else { return 0 }
  let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  return exchange.received(body: UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}

func onRead(
  _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let buffer, let context else { return Int(CURL_READFUNC_ABORT) }
  let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  return exchange.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size * count))
}

func onOpenSocket(
  _ context: UnsafeMutableRawPointer?, _ purpose: curlsocktype, _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
  guard let context, let address else { return ccurl_bad_socket() }
  return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue().openSocket(address)
}

func onProgress(
  _ context: UnsafeMutableRawPointer?, _: curl_off_t, _: curl_off_t, _: curl_off_t, _: curl_off_t
) -> Int32 {
  guard let context else { return 1 }
  return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue().step() ? 0 : 1
}

func onCloseSocket(_ context: UnsafeMutableRawPointer?, _ descriptor: curl_socket_t) -> Int32 {
  if let context { Unmanaged<SocketTable>.fromOpaque(context).takeUnretainedValue().remove(descriptor) }
  return close(descriptor)
}
