/// What lies on every store for those who have no Sheaf: files of this folder, which the build puts into the program.
public enum StoreFiles {
  /// The script that restores a point with nothing but sh, awk, gzip and, where there is one, tar.
  public static var script: [UInt8] { PackageResources.restore_sh }
  /// The page for a person who has never heard of Sheaf.
  public static var readme: [UInt8] { PackageResources.README_txt }
}
