/// `errno`, for callers of the calls that leave it.
import Glibc

public func currentError() -> Int32 { errno }
