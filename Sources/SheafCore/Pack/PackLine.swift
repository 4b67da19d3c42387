/// The assembly line from planner to packers to writer: jobs are worked on in parallel, written in order, and hashed
/// once more behind the writing.
import Posix
import Storage
import Tar

final class PackLine: @unchecked Sendable {
  private let toPack: BoundedQueue<PackJob>
  private let toWrite: BoundedQueue<Step>
  private let toHash = BoundedQueue<PackJob>(limit: 4)
  private var threads: [Thread] = []
  private let failure = Monitor<StoreError?>(nil)
  /// Jobs that are done, to be used again.
  private let spare = Monitor<[PackJob]>([])

  private enum Step {
    case job(PackJob)
    case begin(SHA256)
  }

  convenience init(_ writer: SetWriter, packers: [Packer]) {
    self.init(writer, workers: packers.map { packer in { packer.run($0) } })
  }

  /// `workers`: each is called on a thread of its own, and finishes the jobs it is given.
  init(_ writer: SetWriter, workers: [(PackJob) -> Void]) {
    toPack = BoundedQueue(limit: workers.count + 2)
    toWrite = BoundedQueue(limit: 2 * workers.count + 4)
    for worker in workers {
      nonisolated(unsafe) let worker = worker
      threads.append(
        Thread { [toPack] in
          while let job = toPack.take() { worker(job) }
        })
    }
    nonisolated(unsafe) let writer = writer
    threads.append(
      Thread { [toHash, spare] in
        while let job = toHash.take() {
          writer.hash(job)
          job.reset()
          spare.look { $0.append(job) }
        }
      })
    threads.append(
      Thread { [toWrite, toHash, failure] in
        defer { toHash.close() }
        while let step = toWrite.take() {
          if case .job(let job) = step { job.waitUntilFinished() }
          guard failure.look({ $0 == nil }) else { continue }
          do throws(StoreError) {
            switch step {
            case .begin(let hasher): writer.begin(point: hasher)
            case .job(let job):
              let written = try writer.append(job)
              for job in written { toHash.put(job) }
            }
          } catch { failure.change { $0 = error } }
        }
      })
  }

  /// Begins the point's digest here.
  func begin(point: SHA256) { toWrite.put(.begin(point)) }

  /// An empty job.
  func newJob() -> PackJob { spare.look { $0.popLast() } ?? PackJob() }

  /// Hands a job on; waits while too many are under way. Throws what the writer met.
  func submit(_ job: PackJob) throws(Failure) {
    if let error = failure.look({ $0 }) { throw Failure(error) }
    toWrite.put(.job(job))
    toPack.put(job)
  }

  /// Waits until all is written. Throws what the writer met.
  func finish() throws(Failure) {
    toPack.close()
    toWrite.close()
    for thread in threads { thread.join() }
    threads = []
    if let error = failure.look({ $0 }) { throw Failure(error) }
  }
}
