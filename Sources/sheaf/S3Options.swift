/// Where an object store is and who asks it, by the names that other programs use, too (the AWS SDKs and tools reference
/// guide): environment first, then the files of a profile.
import Posix
import Storage

struct S3Environment {
  private let profile: [String: String]

  init() {
    let name = Self.text("AWS_PROFILE") ?? "default"
    let home = Self.text("HOME")
    let config = Self.text("AWS_CONFIG_FILE") ?? home.map { "\($0)/.aws/config" } ?? ""
    let secrets = Self.text("AWS_SHARED_CREDENTIALS_FILE") ?? home.map { "\($0)/.aws/credentials" } ?? ""
    var found = Self.section(name == "default" ? ["default"] : ["profile \(name)", name], of: config)
    found.merge(Self.section([name], of: secrets)) { $1 }
    profile = found
  }

  private static func text(_ name: StaticString) -> String? {
    guard let value = Host.environment(name), !value.isEmpty else { return nil }
    return value.shown
  }

  /// The names and values of a section; of what is indented and has no name of its own nothing is used.
  private static func section(_ names: [String], of file: String) -> [String: String] {
    guard let text = try? Descriptor.open(Bytes(file.utf8), .read).readAll(atMost: 1 << 20) else { return [:] }
    var values: [String: String] = [:]
    var isInside = false
    for line in text.split(separator: 10).map({ Bytes($0).shown }) {
      let words = line.split { $0 == " " || $0 == "\t" || $0 == "\r" }.joined(separator: " ")
      if words.hasPrefix("[") {
        let name = words.dropFirst().prefix { $0 != "]" }.split(separator: " ").joined(separator: " ")
        isInside = names.contains(name)
      } else if isInside, !words.hasPrefix("#"), let equals = words.firstIndex(of: "="), line.first != " " {
        let name = words[..<equals].split(separator: " ").joined()
        values[name] = words[words.index(after: equals)...].split(separator: " ").joined(separator: " ")
      }
    }
    return values
  }

  /// `endpoint`: as the option gives it.
  static func settings(endpoint: String?) -> S3Settings {
    let here = S3Environment()
    var settings = S3Settings()
    settings.endpoint =
      endpoint ?? text("AWS_ENDPOINT_URL_S3") ?? text("AWS_ENDPOINT_URL") ?? here.profile["endpoint_url"]
    settings.region = text("AWS_REGION") ?? text("AWS_DEFAULT_REGION") ?? here.profile["region"]
    settings.certificates = (text("AWS_CA_BUNDLE") ?? here.profile["ca_bundle"]).map { Bytes($0.utf8) }
    settings.credentials = { S3Environment().credentials }
    return settings
  }

  /// nil: there are none.
  private var credentials: S3Credentials? {
    if let key = Self.text("AWS_ACCESS_KEY_ID"), let secret = Host.environment("AWS_SECRET_ACCESS_KEY") {
      return S3Credentials(keyID: key, secret: secret, token: Self.text("AWS_SESSION_TOKEN"))
    }
    guard let key = profile["aws_access_key_id"], let secret = profile["aws_secret_access_key"] else { return nil }
    return S3Credentials(keyID: key, secret: Bytes(secret.utf8), token: profile["aws_session_token"])
  }
}
