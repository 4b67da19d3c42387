// swift-tools-version: 6.2
// The architecture: dependencies run one way, sheaf -> Plan, Browse -> SheafCore -> Age -> Tar -> Storage -> Posix, and
// only Tar and Age see the C libraries; Storage sees libcrypto and libcurl for object stores, and links only the first.
import PackageDescription

let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  // The checks at run time that no two accesses to a class's property overlap cost 6 % of a run; debug builds keep them.
  .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

let package = Package(
  name: "sheaf",
  products: [.executable(name: "sheaf", targets: ["sheaf"])],
  dependencies: [
    // The command line: subcommands, help and shell completions, kept by Apple with the toolchain.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
  ],
  targets: [
    .systemLibrary(name: "CLinux"),
    .target(name: "CArguments"),
    .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
    .systemLibrary(name: "CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
    .systemLibrary(name: "CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CCurl"),
    .target(name: "Posix", dependencies: ["CLinux", "CArguments"], swiftSettings: strict),
    .target(
      name: "Tar", dependencies: ["Storage", "Posix", "CArchive", "CISAL", "CDeflate", "CZlib", "CCrypto"],
      swiftSettings: strict),
    .target(name: "Fuse", dependencies: ["Posix", "CLinux"], swiftSettings: strict),
    .target(name: "Age", dependencies: ["Tar", "Storage", "Posix", "CCrypto"], swiftSettings: strict),
    .target(
      name: "StoreFiles", resources: [.embedInCode("restore.sh"), .embedInCode("README.txt")], swiftSettings: strict),
    .target(name: "Storage", dependencies: ["Posix", "CCrypto", "CCurl"], swiftSettings: strict),
    .target(
      name: "SheafCore", dependencies: ["Storage", "Age", "Tar", "Fuse", "Posix", "StoreFiles"], swiftSettings: strict),
    .target(name: "Browse", dependencies: ["SheafCore", "Posix"], swiftSettings: strict),
    .target(name: "Plan", dependencies: ["SheafCore", "Storage", "Posix"], swiftSettings: strict),
    .executableTarget(
      name: "sheaf",
      dependencies: [
        "Plan", "Browse", "SheafCore", "Age", "Fuse", "Storage", "Posix",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),
    .target(name: "TestSupport", dependencies: ["Storage", "Posix"], path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(name: "AgeTests", dependencies: ["Age", "Tar", "Storage", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "BrowseTests", dependencies: ["Browse", "SheafCore", "Storage", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "CommandTests", dependencies: ["TestSupport"], swiftSettings: strict),
    .testTarget(name: "PlanTests", dependencies: ["Plan", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "SheafCoreTests", dependencies: ["SheafCore", "Storage", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "StorageTests", dependencies: ["Storage", "TestSupport"], swiftSettings: strict),
    .testTarget(name: "TarTests", dependencies: ["Tar", "Storage", "TestSupport"], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)

// Fuzzers have no main of their own: they are built by `make fuzz` alone, with libFuzzer's.
if Context.environment["SHEAF_FUZZ"] != nil {
  package.targets.append(.target(name: "FuzzDriver", path: "Tests/Fuzz/FuzzDriver"))
  for (name, dependency) in [
    ("FuzzManifest", "SheafCore"), ("FuzzMembers", "Tar"), ("FuzzTar", "Tar"), ("FuzzAge", "Age"),
  ] {
    package.products.append(.executable(name: name, targets: [name]))
    package.targets.append(
      .executableTarget(
        name: name, dependencies: ["FuzzDriver", .byName(name: dependency)], path: "Tests/Fuzz/\(name)",
        swiftSettings: [.unsafeFlags(["-parse-as-library"])]))
  }
}
