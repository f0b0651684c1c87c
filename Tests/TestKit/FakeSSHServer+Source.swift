extension FakeSSHServer {
  /// The server's program: an SSH server in plain Python, with nothing but the standard library.
  ///
  /// Written after RFC 4253 (transport), RFC 4252 (authentication), RFC 8731 (curve25519-sha256), RFC 7748 (X25519),
  /// RFC 8032 (Ed25519), RFC 4344 and FIPS 197 (aes-ctr), RFC 6668 (hmac-sha2-256). It opens every packet of the
  /// client, so it can tell an authentication packet from a mere disconnect. Slow and of no use as a real server.
  ///
  /// Standard output, a line each: `listening PORT`, then for every connection and packet `packet CONNECTION TYPE` with
  /// the message number, `auth CONNECTION METHOD USER`, and `closed CONNECTION REASON`.
  static let source = ##"""
    import hashlib, hmac, os, socket, struct, sys, threading

    # --- X25519 -----------------------------------------------------------------------------------------------------
    P = 2**255 - 19

    def x25519(scalar, point):
        k = bytearray(scalar); k[0] &= 248; k[31] = (k[31] & 127) | 64
        k = int.from_bytes(k, 'little')
        x1 = int.from_bytes(point, 'little') & ((1 << 255) - 1)
        x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
        for bit in range(254, -1, -1):
            now = (k >> bit) & 1
            if swap ^ now:
                x2, x3, z2, z3 = x3, x2, z3, z2
            swap = now
            a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
            aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
            e = aa - bb
            x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
            x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if swap:
            x2, z2 = x3, z3
        return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, 'little')

    # --- Ed25519 ----------------------------------------------------------------------------------------------------
    L = 2**252 + 27742317777372353535851937790883648493
    D = -121665 * pow(121666, P - 2, P) % P
    BY = 4 * pow(5, P - 2, P) % P

    def recover_x(y):
        xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
        x = pow(xx, (P + 3) // 8, P)
        if (x * x - xx) % P:
            x = x * pow(2, (P - 1) // 4, P) % P
        return x if x % 2 == 0 else P - x

    BX = recover_x(BY)
    BASE = (BX, BY, 1, BX * BY % P)

    def add(p, q):
        a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
        c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return e * f % P, g * h % P, f * g % P, e * h % P

    def multiply(n, p):
        result = (0, 1, 1, 0)
        while n:
            if n & 1:
                result = add(result, p)
            p = add(p, p); n >>= 1
        return result

    def compress(p):
        inverse = pow(p[2], P - 2, P)
        x, y = p[0] * inverse % P, p[1] * inverse % P
        return (y | (x & 1) << 255).to_bytes(32, 'little')

    class HostKey:
        def __init__(self, seed):
            h = bytearray(hashlib.sha512(seed).digest())
            h[0] &= 248; h[31] = (h[31] & 127) | 64
            self.scalar, self.prefix = int.from_bytes(h[:32], 'little'), bytes(h[32:])
            self.public = compress(multiply(self.scalar, BASE))
            self.blob = string(b'ssh-ed25519') + string(self.public)

        def sign(self, message):
            r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), 'little') % L
            point = compress(multiply(r, BASE))
            k = int.from_bytes(hashlib.sha512(point + self.public + message).digest(), 'little') % L
            return string(b'ssh-ed25519') + string(point + ((r + k * self.scalar) % L).to_bytes(32, 'little'))

    # --- AES in counter mode ----------------------------------------------------------------------------------------
    def make_sbox():
        p = q = 1
        box = [0] * 256
        while True:
            p = p ^ ((p << 1) & 255) ^ (0x1b if p & 128 else 0)
            q ^= q << 1; q ^= q << 2; q ^= q << 4; q &= 255
            if q & 128:
                q ^= 9
            r = lambda n: ((q << n) | (q >> (8 - n))) & 255
            box[p] = q ^ r(1) ^ r(2) ^ r(3) ^ r(4) ^ 0x63
            if p == 1:
                break
        box[0] = 0x63
        return box

    SBOX = make_sbox()
    double = lambda b: ((b << 1) ^ 0x1b) & 255 if b & 128 else b << 1

    class Counter:
        def __init__(self, key, iv):
            words, n, rcon = [list(key[i:i + 4]) for i in range(0, len(key), 4)], len(key) // 4, 1
            self.rounds = n + 6
            for i in range(n, 4 * (self.rounds + 1)):
                w = list(words[i - 1])
                if i % n == 0:
                    w = [SBOX[b] for b in w[1:] + w[:1]]
                    w[0] ^= rcon; rcon = double(rcon)
                elif n > 6 and i % n == 4:
                    w = [SBOX[b] for b in w]
                words.append([a ^ b for a, b in zip(words[i - n], w)])
            self.keys = [sum(words[4 * r:4 * r + 4], []) for r in range(self.rounds + 1)]
            self.counter, self.left = int.from_bytes(iv, 'big'), b''

        def block(self):
            s = [a ^ b for a, b in zip(self.counter.to_bytes(16, 'big'), self.keys[0])]
            for r in range(1, self.rounds + 1):
                s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
                if r < self.rounds:
                    m = []
                    for c in range(0, 16, 4):
                        a = s[c:c + 4]; t = a[0] ^ a[1] ^ a[2] ^ a[3]
                        m += [a[i] ^ t ^ double(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
                    s = m
                s = [a ^ b for a, b in zip(s, self.keys[r])]
            self.counter = (self.counter + 1) % (1 << 128)
            return bytes(s)

        def apply(self, data):
            while len(self.left) < len(data):
                self.left += self.block()
            stream, self.left = self.left[:len(data)], self.left[len(data):]
            return bytes(a ^ b for a, b in zip(data, stream))

    # --- SSH --------------------------------------------------------------------------------------------------------
    def string(b):
        return struct.pack('>I', len(b)) + b

    def mpint(b):
        b = b.lstrip(b'\0')
        return string(b'\0' + b if b and b[0] & 128 else b)

    def take(b, at):
        n = struct.unpack('>I', b[at:at + 4])[0]
        return b[at + 4:at + 4 + n], at + 4 + n

    KEX = [b'curve25519-sha256', b'curve25519-sha256@libssh.org']
    CIPHERS = {b'aes128-ctr': 16, b'aes192-ctr': 24, b'aes256-ctr': 32}
    MACS = {b'hmac-sha2-256': False, b'hmac-sha2-256-etm@openssh.com': True}
    output = threading.Lock()

    def say(*words):
        with output:
            print(*words, flush=True)

    class Half:
        def __init__(self, cipher, key, iv, mac, mac_key):
            self.cipher, self.etm, self.mac_key = Counter(key, iv), MACS[mac], mac_key

    class Connection:
        def __init__(self, number, sock, key):
            self.number, self.sock, self.key = number, sock, key
            self.inward = self.outward = None
            self.received = self.sent = 0

        def read(self, n):
            data = b''
            while len(data) < n:
                more = self.sock.recv(n - len(data))
                if not more:
                    raise EOFError('end of stream')
                data += more
            return data

        def send(self, payload):
            half = self.outward
            size = 16 if half else 8
            head = 4 if half and half.etm else 0
            pad = size - (5 + len(payload) - head) % size
            pad += size if pad < 4 else 0
            length = struct.pack('>I', 1 + len(payload) + pad)
            body = bytes([pad]) + payload + os.urandom(pad)
            number = struct.pack('>I', self.sent)
            self.sent += 1
            if not half:
                packet = length + body
            elif half.etm:
                packet = length + half.cipher.apply(body)
                packet += hmac.new(half.mac_key, number + packet, 'sha256').digest()
            else:
                mac = hmac.new(half.mac_key, number + length + body, 'sha256').digest()
                packet = half.cipher.apply(length + body) + mac
            self.sock.sendall(packet)

        def receive(self):
            half = self.inward
            number = struct.pack('>I', self.received)
            if not half or half.etm:
                head = self.read(4)
                size = struct.unpack('>I', head)[0]
                if size > 40000:
                    raise ValueError('packet too long')
                body = self.read(size)
                if half:
                    if self.read(32) != hmac.new(half.mac_key, number + head + body, 'sha256').digest():
                        raise ValueError('bad mac')
                    body = half.cipher.apply(body)
            else:
                first = half.cipher.apply(self.read(16))
                size = struct.unpack('>I', first[:4])[0]
                if size > 40000 or size < 12:
                    raise ValueError('bad packet length')
                body = first[4:] + half.cipher.apply(self.read(size - 12))
                if self.read(32) != hmac.new(half.mac_key, number + first[:4] + body, 'sha256').digest():
                    raise ValueError('bad mac')
            self.received += 1
            payload = body[1:len(body) - body[0]]
            say('packet', self.number, payload[0])
            return payload

        def serve(self):
            self.sock.sendall(b'SSH-2.0-Recorder\r\n')
            line = b''
            while not line.endswith(b'\n'):
                line += self.read(1)
            mine = self.kexinit()
            self.send(mine)
            theirs = self.receive()
            while theirs[0] != 20:
                theirs = self.receive()
            self.exchange(line.rstrip(b'\r\n'), theirs, mine)
            while True:
                payload = self.receive()
                if payload[0] == 1:
                    return 'disconnect'
                if payload[0] == 5:
                    self.send(b'\x06' + string(take(payload, 1)[0]))
                elif payload[0] == 50:
                    user, at = take(payload, 1)
                    _, at = take(payload, at)
                    method, _ = take(payload, at)
                    say('auth', self.number, method.decode(), user.decode())
                    self.send(b'\x33' + string(b'publickey,password,keyboard-interactive') + b'\0')
                elif payload[0] == 20:
                    raise ValueError('no second key exchange here')

        def kexinit(self):
            lists = [b','.join(KEX), b'ssh-ed25519']
            lists += [b','.join(CIPHERS)] * 2 + [b','.join(MACS)] * 2 + [b'none'] * 2 + [b''] * 2
            return b'\x14' + os.urandom(16) + b''.join(string(x) for x in lists) + b'\0' * 5

        def exchange(self, banner, theirs, mine):
            lists, at = [], 17
            for _ in range(10):
                names, at = take(theirs, at)
                lists.append(names.split(b','))
            pick = lambda index, known: next(n for n in lists[index] if n in known)
            pick(0, KEX); pick(1, [b'ssh-ed25519'])
            wrong = theirs[at] and lists[0][0] not in KEX
            payload = self.receive()
            if wrong:
                payload = self.receive()
            while payload[0] != 30:
                payload = self.receive()
            public, _ = take(payload, 1)
            secret = os.urandom(32)
            answer = x25519(secret, (9).to_bytes(32, 'little'))
            shared = mpint(x25519(secret, public))
            text = [banner, b'SSH-2.0-Recorder', theirs, mine, self.key.blob, public, answer]
            digest = hashlib.sha256(b''.join(string(x) for x in text) + shared).digest()
            self.send(b'\x1f' + string(self.key.blob) + string(answer) + string(self.key.sign(digest)))
            self.send(b'\x15')

            def derive(letter, size):
                key = hashlib.sha256(shared + digest + letter + digest).digest()
                while len(key) < size:
                    key += hashlib.sha256(shared + digest + key).digest()
                return key[:size]

            ciphers, macs = (pick(2, CIPHERS), pick(3, CIPHERS)), (pick(4, MACS), pick(5, MACS))
            key = derive(b'D', CIPHERS[ciphers[1]])
            self.outward = Half(ciphers[1], key, derive(b'B', 16), macs[1], derive(b'F', 32))
            payload = self.receive()
            while payload[0] != 21:
                payload = self.receive()
            key = derive(b'C', CIPHERS[ciphers[0]])
            self.inward = Half(ciphers[0], key, derive(b'A', 16), macs[0], derive(b'E', 32))

    def run(connection):
        connection.sock.settimeout(30)
        try:
            reason = connection.serve()
        except Exception as error:
            reason = type(error).__name__ + ': ' + str(error)
        connection.sock.close()
        say('closed', connection.number, reason)

    def main():
        key = HostKey(bytes.fromhex(sys.argv[1]))
        listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        say('key', key.blob.hex())
        say('listening', listener.getsockname()[1])
        number = 0
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number += 1
            threading.Thread(target=run, args=(Connection(number, sock, key),), daemon=True).start()

    main()
    """##
}
