/// A store with everything that stores can do. The parts are protocols of their own, so that who uses a store can say
/// how much of it.
package typealias WholeStorage = Storage & RollUpStorage & LeaseStorage & FencedStorage & PortableStorage
