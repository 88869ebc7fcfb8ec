/** A stylesheet as text; mount puts it into the picture's own root. */
declare module "*.css?inline" {
  const css: string;
  export default css;
}
